#include "linalg/normal_wishart.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/linalg/table.h"
#include "linalg/batches.h"
#include "linalg/factors.h"
#include "linalg/gamma_differences.h"
#include "runtime/memory.h"
#include "runtime/numbers.h"
#include "runtime/thread_count.h"
#include "runtime/tuning.h"

namespace vbfast::linalg {

namespace {

template <class F>
void each_component(std::int64_t n, std::int64_t operations, int num_threads,
                    const runtime::Interrupt* interrupt, F&& f) {
    runtime::parallel(n, runtime::threads_for(n * operations, num_threads), interrupt,
                      [&](std::int64_t k, int, runtime::Region&) { f(k); });
}

// Of a sum of log-gamma divergences or psis, most of which come of others.
constexpr std::int64_t gamma_sum_operations(std::int64_t D) {
    return (2 + D / 8) * tuning::gamma_operations;
}

// t^2 - 1 - log t^2.
double square_divergence(double ratio) {
    return itakura_saito(ratio * ratio, 1.0, (1.0 - ratio) * (1.0 + ratio));
}

// What the diagonal adds to tr M - D - log det M with M = (Q Q^T)^-1 P P^T.
double diagonal_divergence(Pattern pattern, const double* P, const double* Q, std::int64_t D) {
    if (pattern == Pattern::spherical) return static_cast<double>(D) * square_divergence(*P / *Q);
    const std::int64_t stride = has_matrices(pattern) ? D + 1 : 1;
    double sum = 0.0;
    for (std::int64_t i = 0; i < D; ++i) sum += square_divergence(P[i * stride] / Q[i * stride]);
    return sum;
}

// ||(x - y) P||^2.
double squared_distance(Pattern pattern, const double* x, const double* y, const double* P,
                        std::int64_t D) {
    std::vector<double> whitened(static_cast<std::size_t>(D), 0.0);
    double* w = whitened.data();
    for (std::int64_t i = 0; i < D; ++i) {
        const double way = x[i] - y[i];
        if (has_matrices(pattern))
            for (std::int64_t j = i; j < D; ++j) w[j] += way * P[i * D + j];
        else
            w[i] = way * P[pattern == Pattern::diag ? i : 0];
    }
    double sum = 0.0;
    for (std::int64_t j = 0; j < D; ++j) sum += w[j] * w[j];
    return sum;
}

// ||Q^-1 (P - Q diag(t))||^2 of each pair of triangular matrices, t being the ratios of their
// diagonals: what of Q^-1 P lies above its diagonal.
std::vector<double> above_diagonals(const double* factor, const double* by, std::int64_t n_by,
                                    std::int64_t n, std::int64_t D, int num_threads,
                                    const runtime::Interrupt* interrupt) {
    runtime::Buffer memory;
    double* upper =
        static_cast<double*>(memory.reserve(static_cast<std::size_t>(n * D * D) * sizeof(double)));
    each_component(n, D * D, num_threads, interrupt, [&](std::int64_t k) {
        const double* P = factor + k * D * D;
        const double* Q = by + (n_by == 1 ? 0 : k * D * D);
        double* T = upper + k * D * D;
        std::vector<double> ratio(static_cast<std::size_t>(D));
        double* t = ratio.data();
        for (std::int64_t j = 0; j < D; ++j) t[j] = P[j * D + j] / Q[j * D + j];
        for (std::int64_t i = 0; i < D; ++i) {
            std::fill_n(T + i * D, i + 1, 0.0);
            for (std::int64_t j = i + 1; j < D; ++j)
                T[i * D + j] = P[i * D + j] - Q[i * D + j] * t[j];
        }
    });
    std::vector<double> norms(static_cast<std::size_t>(n));
    ratio_norms(upper, by, n_by, n, D, norms.data(), num_threads, interrupt);
    return norms;
}

// second = the sums' second moment about `centre + step` plus beta_0 d d^T, on the pattern, of
// component k; of a tied one the row k of the sum over the components. `half` is
// first - mass step / 2.
void move_second(Pattern pattern, std::int64_t K, std::int64_t D, const MomentSums& sums,
                 const double* half, const double* step, const double* deviation,
                 double mean_precision, double* second, std::int64_t k) {
    const double *h = half + k * D, *s = step + k * D, *d = deviation + k * D;
    switch (pattern) {
        case Pattern::full:
            kernels().subtract_symmetric(sums.second + k * D * D, h, s, D, second + k * D * D);
            for (std::int64_t i = 0; i < D; ++i)
                for (std::int64_t j = 0; j < D; ++j)
                    second[(k * D + i) * D + j] += mean_precision * (d[i] * d[j]);
            break;
        case Pattern::diag:
            for (std::int64_t i = 0; i < D; ++i)
                second[k * D + i] =
                    sums.second[k * D + i] - 2.0 * h[i] * s[i] + mean_precision * (d[i] * d[i]);
            break;
        case Pattern::spherical: {
            double moved = 0.0, square = 0.0;
            for (std::int64_t i = 0; i < D; ++i) {
                moved += 2.0 * h[i] * s[i];
                square += d[i] * d[i];
            }
            const double n = static_cast<double>(D);
            second[k] = sums.second[k] - moved / n + mean_precision * (square / n);
            break;
        }
        case Pattern::tied: {
            // The row k of the matrix, to which all components add.
            double* row = second + k * D;
            std::copy_n(sums.second + k * D, D, row);
            for (std::int64_t c = 0; c < K; ++c) {
                const double *hc = half + c * D, *sc = step + c * D, *dc = deviation + c * D;
                for (std::int64_t j = 0; j < D; ++j)
                    row[j] += mean_precision * (dc[k] * dc[j]) - (hc[k] * sc[j] + hc[j] * sc[k]);
            }
            break;
        }
    }
}

}  // namespace

std::int64_t normal_wishart_posterior(Pattern pattern, std::int64_t n_components,
                                      std::int64_t n_features, const NormalWishartPrior& prior,
                                      const MomentSums& sums, double variance, double least_count,
                                      const NormalWishartOutputs& out, int num_threads,
                                      const runtime::Interrupt* interrupt) {
    const std::int64_t K = n_components, D = n_features, size = pattern_size(pattern, D);
    const std::int64_t n_matrices = count_matrices(pattern, K);
    std::vector<double> steps(static_cast<std::size_t>(3 * K * D));
    double *half = steps.data(), *step = half + K * D, *deviation = step + K * D;
    double total = 0.0;
    for (std::int64_t k = 0; k < K; ++k) {
        const double count = sums.weight[k];
        total += count;
        out.mean_precision[k] = prior.mean_precision + count;
        for (std::int64_t i = 0; i < D; ++i) {
            // Deviations from the prior mean and from the centres: sums of x would cancel.
            const std::int64_t at = k * D + i;
            const double pull = sums.first[at] + count * (sums.centres[at] - prior.mean[i]);
            deviation[at] = pull / out.mean_precision[k];
            out.means[at] = prior.mean[i] + deviation[at];
            step[at] = out.means[at] - sums.centres[at];
            half[at] = sums.first[at] - 0.5 * sums.mass[k] * step[at];
        }
    }
    const std::int64_t n_parts = pattern == Pattern::tied ? D : K;
    const std::int64_t operations = pattern == Pattern::tied ? 5 * K * D : 5 * size;
    each_component(n_parts, operations, num_threads, interrupt, [&](std::int64_t k) {
        move_second(pattern, K, D, sums, half, step, deviation, prior.mean_precision,
                    out.covariances, k);
    });
    const double n_averaged = pattern == Pattern::tied ? static_cast<double>(K) : 1.0;
    const std::int64_t stride = has_matrices(pattern) ? D + 1 : 1;
    each_component(n_matrices, 20 * size, num_threads, interrupt, [&](std::int64_t k) {
        const double count = pattern == Pattern::tied ? total / n_averaged : sums.weight[k];
        const double degrees = prior.degrees_of_freedom + count;
        const double added = variance * (count + least_count);
        double* matrix = out.covariances + k * size;
        out.degrees_of_freedom[k] = degrees;
        if (pattern == Pattern::tied)
            for (std::int64_t i = 0; i < size; ++i) matrix[i] /= n_averaged;
        for (std::int64_t i = 0; i < size; i += stride) matrix[i] += added;
        for (std::int64_t i = 0; i < size; ++i)
            matrix[i] = (matrix[i] + prior.covariance[i]) / degrees;
    });
    return precision_factors(pattern, K, D, out.covariances, out.factor, num_threads, interrupt);
}

void normal_wishart_divergence(Pattern pattern, std::int64_t n_components, std::int64_t n_features,
                               const NormalWisharts& q, const NormalWisharts& r, double* divergence,
                               int num_threads, const runtime::Interrupt* interrupt) {
    const std::int64_t K = n_components, D = n_features, size = pattern_size(pattern, D);
    const std::int64_t n_matrices = count_matrices(pattern, K);
    std::vector<double> wishart(static_cast<std::size_t>(n_matrices), 0.0);
    if (has_matrices(pattern))
        wishart = above_diagonals(q.factor, r.factor, r.one ? 1 : n_matrices, n_matrices, D,
                                  num_threads, interrupt);
    each_component(
        n_matrices, gamma_sum_operations(D), num_threads, interrupt, [&](std::int64_t k) {
            const double nu = r.degrees_of_freedom[r.one ? 0 : k];
            const double step = q.degrees_of_freedom[k] - nu;
            const double* by = r.factor + (r.one ? 0 : k * size);
            double& result = wishart[static_cast<std::size_t>(k)];
            const double scale = diagonal_divergence(pattern, q.factor + k * size, by, D) + result +
                                 static_cast<double>(D) * log1p_less_argument(step / nu);
            const double gammas = sum_log_gamma_divergence(0.5 * nu, 0.5 * step, D);
            // Not std::max, to which a NaN would be zero.
            result = 0.5 * nu * scale + gammas;
            if (result < 0.0) result = 0.0;
        });
    each_component(K, 10 * size, num_threads, interrupt, [&](std::int64_t k) {
        const bool tied = pattern == Pattern::tied;
        const double beta = r.mean_precision[r.one ? 0 : k], own = q.mean_precision[k];
        const double spread = itakura_saito(beta, own, own - beta);
        const double distance =
            beta * squared_distance(pattern, q.means + k * D, r.means + (r.one ? 0 : k * D),
                                    q.factor + (tied ? 0 : k * size), D);
        divergence[k] = wishart[static_cast<std::size_t>(tied ? 0 : k)] +
                        0.5 * (static_cast<double>(D) * spread + distance);
    });
}

void expected_log_det(Pattern pattern, std::int64_t n_matrices, std::int64_t n_features,
                      const double* degrees_of_freedom, const double* factor, double* log_det,
                      int num_threads, const runtime::Interrupt* interrupt) {
    const std::int64_t D = n_features, size = pattern_size(pattern, D);
    each_component(
        n_matrices, gamma_sum_operations(D), num_threads, interrupt, [&](std::int64_t k) {
            const double nu = degrees_of_freedom[k];
            // psi(x) is taken relative to log x, and W to nu W.
            const double psi = sum_digamma_less_log(0.5 * nu, D);
            double lost = 0.0;
            for (std::int64_t i = 0; i < D; ++i) lost += std::log1p(-static_cast<double>(i) / nu);
            log_det[k] = psi + lost + 2.0 * log_det_of_factor(pattern, factor + k * size, D);
        });
}

void expected_log_density(Pattern pattern, std::int64_t n_components, std::int64_t n_features,
                          const NormalWisharts& q, double* log_density, int num_threads,
                          const runtime::Interrupt* interrupt) {
    const std::int64_t K = n_components;
    std::vector<double> log_det(static_cast<std::size_t>(count_matrices(pattern, K)));
    expected_log_det(pattern, count_matrices(pattern, K), n_features, q.degrees_of_freedom,
                     q.factor, log_det.data(), num_threads, interrupt);
    const double D = static_cast<double>(n_features);
    for (std::int64_t k = 0; k < K; ++k) {
        const double own = log_det[static_cast<std::size_t>(pattern == Pattern::tied ? 0 : k)];
        log_density[k] = 0.5 * (own - D * runtime::log_two_pi - D / q.mean_precision[k]);
    }
}

}  // namespace vbfast::linalg
