#include "linalg/gaussian_moments.h"

#include <algorithm>
#include <vector>

#include "kernels/linalg/table.h"
#include "linalg/ordered_sum.h"
#include "runtime/thread_count.h"

namespace vbfast::linalg {

namespace {

// 0 for negative numbers, and NaN for NaN.
double at_least_zero(double value) {
    return value < 0.0 ? 0.0 : value;
}

}  // namespace

void gaussian_moments(Pattern pattern, std::int64_t n_components, std::int64_t n_features,
                      const MomentSums& sums, double variance, double least_count, double empty,
                      const PreviousMoments& previous, const GaussianMoments& out, int num_threads,
                      const runtime::Interrupt* interrupt) {
    const std::int64_t K = n_components, D = n_features, size = pattern_size(pattern, D);
    std::vector<double> memory(static_cast<std::size_t>(2 * K * D));
    double *half = memory.data(), *step = half + K * D;
    for (std::int64_t k = 0; k < K; ++k) {
        const bool lost = sums.weight[k] < empty;
        out.counts[k] = sums.weight[k] + least_count;
        for (std::int64_t at = k * D; at < (k + 1) * D; ++at) {
            // Steps are taken from the centres, which are the current means: sums of x would
            // cancel.
            if (!lost)
                step[at] = sums.first[at] / sums.weight[k];
            else
                step[at] = previous.means ? previous.means[at] - sums.centres[at] : 0.0;
            out.means[at] = sums.centres[at] + step[at];
            half[at] = sums.first[at] - 0.5 * sums.mass[k] * step[at];
        }
    }
    if (pattern == Pattern::tied) {
        const int threads = runtime::threads_for(K * D * D, num_threads);
        runtime::parallel(D, threads, interrupt, [&](std::int64_t i, int, runtime::Region&) {
            double* row = out.covariances + i * D;
            std::fill_n(row, D, 0.0);
            for (std::int64_t k = 0; k < K; ++k)
                for (std::int64_t j = 0; j < D; ++j) row[j] += half[k * D + i] * step[k * D + j];
        });
        const double total = sum_as_numpy(out.counts, K);
        runtime::parallel(D, threads, interrupt, [&](std::int64_t i, int, runtime::Region&) {
            for (std::int64_t j = 0; j <= i; ++j) {
                double* one = out.covariances + i * D + j;
                double* other = out.covariances + j * D + i;
                const double product = *one + *other;
                *one = (sums.second[i * D + j] - product) / total;
                *other = (sums.second[j * D + i] - product) / total;
            }
        });
    }
    const auto own_matrix = [&](std::int64_t k, int, runtime::Region&) {
        double* h = half + k * D;
        const double* s = step + k * D;
        const double* second = sums.second + k * size;
        double* own = out.covariances + k * size;
        if (pattern == Pattern::full) {
            kernels().subtract_symmetric(second, h, s, D, own);
        } else {
            for (std::int64_t i = 0; i < D; ++i) h[i] = 2.0 * h[i] * s[i];
            if (pattern == Pattern::spherical)
                *own = at_least_zero(*second - sum_as_numpy(h, D) / static_cast<double>(D));
            else
                for (std::int64_t i = 0; i < D; ++i) own[i] = at_least_zero(second[i] - h[i]);
        }
        for (std::int64_t i = 0; i < size; ++i) own[i] /= out.counts[k];
    };
    if (pattern != Pattern::tied)
        runtime::parallel(K, runtime::threads_for(10 * K * size, num_threads), interrupt,
                          own_matrix);
    const std::int64_t stride = has_matrices(pattern) ? D + 1 : 1;
    const std::int64_t n_matrices = pattern == Pattern::tied ? 1 : K;
    for (std::int64_t k = 0; k < n_matrices; ++k)
        for (std::int64_t i = 0; i < size; i += stride) out.covariances[k * size + i] += variance;
    for (std::int64_t k = 0; k < K; ++k) {
        if (!(sums.weight[k] < empty)) continue;
        out.counts[k] = sums.weight[k];
        if (previous.covariances && pattern != Pattern::tied)
            std::copy_n(previous.covariances + k * size, size, out.covariances + k * size);
    }
}

}  // namespace vbfast::linalg
