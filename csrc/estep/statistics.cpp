#include "estep/statistics.h"

#include <algorithm>
#include <vector>

#include "runtime/numbers.h"
#include "runtime/thread_count.h"

namespace vbfast::estep {

namespace {

#include "kernels/estep/triangle-inl.h"

// The second moments of all components together, which are about the origin as `delta` tells.
void read_pooled(const double* pooled, const double* delta, std::int64_t K, std::int64_t D,
                 MomentArrays moments, int num_threads, const runtime::Interrupt* interrupt) {
    const auto row = [&](std::int64_t i, int worker, runtime::Region& region) {
        for (std::int64_t j = 0; j <= i; ++j) {
            if (j % 256 == 255 && runtime::stop_requested(region, worker)) return;
            double sum = pooled[triangle_index(i, j)];
            for (std::int64_t k = 0; k < K; ++k) {
                const double* d = delta + k * D;
                const double about_j = moments.first[k * D + j] - moments.weight[k] * d[j];
                sum += d[i] * about_j + moments.first[k * D + i] * d[j];
            }
            moments.second[i * D + j] = moments.second[j * D + i] = sum;
        }
    };
    runtime::parallel(D, runtime::threads_for(D * D * K, num_threads), interrupt, row);
}

}  // namespace

// The sums of a component are about a point a: the origin for a dense component, its centre for a
// gathered one. With delta = a - mean, sum r (x - mean) = first + N delta, and so on for the second
// moment.
template <class T>
void read_moments(const Model<T>& model, const Kernels<T>& kernels, PartialSums sums,
                  std::int64_t size, const double* means, MomentArrays moments, int num_threads,
                  const runtime::Interrupt* interrupt) {
    const std::int64_t K = model.n_components, D = model.n_features;
    const int B = kernels.moment_components, F = kernels.moment_features;
    const Moments kind = model.moments;
    double *first = moments.first, *second = moments.second;
    std::vector<double> delta(static_cast<std::size_t>(K * D));
    const auto component = [&](std::int64_t k, int, runtime::Region&) {
        const bool gathered = model.gathered[k];
        std::vector<double> listed;  // a dense component's moments, one after the other
        if (!gathered) {
            const double* dense = sums.dense + k / B * model.dense_stride + k % B * F;
            listed.reserve(static_cast<std::size_t>(runtime::round_up(model.n_moments, F)));
            for (; static_cast<std::int64_t>(listed.size()) < model.n_moments; dense += F * B)
                listed.insert(listed.end(), dense, dense + F);
        }
        const double* own = gathered ? sums.gathered + k * model.gathered_stride : listed.data();
        double* d = delta.data() + k * D;
        const double N = own[0];
        moments.weight[k] = N;
        for (std::int64_t i = 0; i < D; ++i) {
            const double centre =
                gathered ? static_cast<double>(model.centres[k * model.padded_features + i]) : 0.0;
            const double origin =
                gathered && !model.all_near ? 0.0 : static_cast<double>(model.origin[i]);
            d[i] = centre + origin - means[k * D + i];
            first[k * D + i] = own[1 + i] + N * d[i];
        }
        // sum r (x-mean)_i (x-mean)_j, from the sum about a and the first moments about a and mean.
        const auto moved = [&](double about_a, std::int64_t i, std::int64_t j) {
            return about_a + d[i] * own[1 + j] + first[k * D + i] * d[j];
        };
        if (kind == Moments::diag)
            for (std::int64_t i = 0; i < D; ++i)
                second[k * D + i] = std::max(0.0, moved(own[1 + D + i], i, i));
        if (kind == Moments::spherical) {
            double sum = own[1 + D];
            for (std::int64_t i = 0; i < D; ++i) sum = moved(sum, i, i);
            second[k] = std::max(0.0, sum / static_cast<double>(D));
        }
        if (kind == Moments::full) {
            double* out = second + k * D * D;
            for (std::int64_t i = 0; i < D; ++i) {
                const std::int64_t m = gathered ? triangle_index(i, 0) : i * (i + 1) / 2;
                const double* about_a = own + 1 + D + m;
                const double by = d[i], about = first[k * D + i];
                for (std::int64_t j = 0; j <= i; ++j)
                    out[i * D + j] = about_a[j] + by * own[1 + j] + about * d[j];
                for (std::int64_t j = 0; j < i; ++j) out[j * D + i] = out[i * D + j];
            }
        }
    };
    runtime::parallel(K, runtime::threads_for(size, num_threads), interrupt, component);
    if (kind == Moments::pooled)
        read_pooled(sums.pooled, delta.data(), K, D, moments, num_threads, interrupt);
}

template void read_moments(const Model<float>&, const Kernels<float>&, PartialSums, std::int64_t,
                           const double*, MomentArrays, int, const runtime::Interrupt*);
template void read_moments(const Model<double>&, const Kernels<double>&, PartialSums, std::int64_t,
                           const double*, MomentArrays, int, const runtime::Interrupt*);

}  // namespace vbfast::estep
