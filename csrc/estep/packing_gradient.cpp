#include "estep/packing_gradient.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "estep/packing_forms.h"
#include "runtime/numbers.h"
#include "runtime/thread_count.h"
#include "tuning.h"

namespace vbfast::estep {

namespace {

// The exponent of a power of two above a number that is not negative.
int exponent_above(double value) {
    return value > 0 && std::isfinite(value) ? std::ilogb(value) + 1 : 0;
}

// By how many doublings factors are divided so that precisions, their products with the means and
// the sums of those are numbers of type T: by none, unless a factor is beyond about the root of the
// largest number.
template <class T>
int doublings_of_factors(const MixtureParameters& parameters, std::int64_t n_coefficients,
                         const T* origin) {
    constexpr int largest = std::numeric_limits<T>::max_exponent;
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    double factor = 0, mean = 0;
    for (std::int64_t i = 0; i < n_coefficients; ++i)
        factor = std::max(factor, std::abs(parameters.coefficients[i]));
    for (std::int64_t i = 0; i < K * D; ++i)
        mean = std::max(mean, std::abs(parameters.means[i] - static_cast<double>(origin[i % D])));
    const int size = exponent_above(static_cast<double>(D));
    const int precision = 2 * exponent_above(factor) + size;
    const int beyond = precision + std::max(0, size + exponent_above(mean)) - (largest - 8);
    return std::clamp((beyond + 1) / 2, 0, largest / 2 - 1);
}

// Where entry e of n_entries in a run has its number for component k, see
// kernels/estep/mixed_gradient-inl.h.
std::int64_t run_index(std::int64_t n_components, std::int64_t n_entries, int columns,
                       std::int64_t k, std::int64_t e) {
    const std::int64_t start = e / columns * columns;
    const std::int64_t width = std::min<std::int64_t>(columns, n_entries - start);
    return start * n_components + k * width + e - start;
}

// The matrix P P^T, in a task of a region.
std::vector<double> precision_of(const double* P, std::int64_t D, runtime::Region& region,
                                 int worker) {
    std::vector<double> columns_of_P(static_cast<std::size_t>(D * D)),
        precision(static_cast<std::size_t>(D * D), 0.0);
    for (std::int64_t i = 0; i < D; ++i)
        for (std::int64_t l = i; l < D; ++l) columns_of_P[l * D + i] = P[i * D + l];
    for (std::int64_t i = 0; i < D; ++i) {
        if (i % 16 == 15 && runtime::stop_requested(region, worker)) throw runtime::Interrupted();
        double* row = precision.data() + i * D;
        for (std::int64_t l = i; l < D; ++l)
            for (std::int64_t j = 0; j <= i; ++j) row[j] += P[i * D + l] * columns_of_P[l * D + j];
        for (std::int64_t j = 0; j < i; ++j) precision[j * D + i] = row[j];
    }
    return precision;
}

// Its lower triangle as the run of component k, diagonal halved.
template <class T>
void pack_triangle(const double* precision, std::int64_t D, std::int64_t n_components, int columns,
                   std::int64_t k, T* run) {
    const std::int64_t numbers = D * (D + 1) / 2;
    std::int64_t e = 0;
    for (std::int64_t i = 0; i < D; ++i)
        for (std::int64_t j = 0; j <= i; ++j, ++e)
            run[run_index(n_components, numbers, columns, k, e)] =
                static_cast<T>((i == j ? 0.5 : 1.0) * precision[i * D + j]);
}

// Calls put(i, j) for the entries of a matrix for gathered rows in their order, see
// kernels/estep/gathered_gradient-inl.h.
template <class T, class Put>
void visit_gathered_matrix(std::int64_t D, const Kernels<T>& kernels, bool triangular, Put put) {
    const std::int64_t padded = runtime::round_up(D, kernels.lanes);
    for (std::int64_t c = 0; c < padded; c += kernels.product_columns) {
        const std::int64_t end = std::min<std::int64_t>(padded, c + kernels.product_columns);
        for (std::int64_t i = triangular ? c : 0; i < D; ++i)
            for (std::int64_t j = c; j < end; ++j) put(i, j);
    }
}

// P^T of an upper-triangular P, or else the symmetric precision, for gathered rows.
template <class T>
void pack_gathered_matrix(const double* matrix, std::int64_t D, const Kernels<T>& kernels,
                          bool triangular, T* out) {
    visit_gathered_matrix(D, kernels, triangular, [&](std::int64_t i, std::int64_t j) {
        *out++ = static_cast<T>(j < (triangular ? i + 1 : D) ? matrix[j * D + i] : 0.0);
    });
}

// The precision that the components of a tied model share.
template <class T>
void pack_shared_precision(const double* P, std::int64_t D, int columns, PackedModel<T>& packed,
                           const runtime::Interrupt* interrupt) {
    std::vector<double> precision;
    runtime::parallel(1, 1, interrupt, [&](std::int64_t, int worker, runtime::Region& region) {
        precision = precision_of(P, D, region, worker);
    });
    packed.shared_precision.resize(precision.size());
    for (std::int64_t i = 0; i < D; ++i)
        for (std::int64_t j = 0; j < D; ++j)
            packed.shared_precision[run_index(D, D, columns, i, j)] =
                static_cast<T>(precision[i * D + j]);
    packed.model.shared_precision = packed.shared_precision.data();
}

// theta, for mixing.
template <class T>
void pack_slopes(const MixtureParameters& linear, int columns, PackedModel<T>& packed) {
    const std::int64_t K = linear.n_components, D = linear.n_features;
    packed.precision_means.resize(static_cast<std::size_t>(K * D));
    for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t d = 0; d < D; ++d)
            packed.precision_means[run_index(K, D, columns, k, d)] =
                as_finite<T>(linear.coefficients[k * D + d]);
    packed.model.precision_means = packed.precision_means.data();
}

// Precisions and their products with the means, for mixing; full precisions for gathered rows too.
template <class T>
void pack_precisions(const MixtureParameters& parameters, const Kernels<T>& kernels,
                     PackedModel<T>& packed, int threads, const runtime::Interrupt* interrupt) {
    const int columns = kernels.factor_columns;
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    const Form form = parameters.form;
    const double* P = parameters.coefficients;
    std::int64_t numbers = 1;  // of a precision, but for tied
    if (form == Form::full) numbers = D * (D + 1) / 2;
    if (form == Form::diag) numbers = D;
    packed.precision_means.resize(static_cast<std::size_t>(K * D));
    packed.precisions.assign(static_cast<std::size_t>(K * numbers), T(1));
    runtime::parallel(
        K, threads, interrupt, [&](std::int64_t k, int worker, runtime::Region& region) {
            std::vector<double> mean(static_cast<std::size_t>(D));
            for (std::int64_t d = 0; d < D; ++d)
                mean[d] = parameters.means[k * D + d] - static_cast<double>(packed.origin[d]);
            if (form == Form::full) {
                const std::vector<double> precision =
                    precision_of(P + k * D * D, D, region, worker);
                pack_triangle(precision.data(), D, K, columns, k, packed.precisions.data());
                if (packed.model.gathered_matrices)
                    pack_gathered_matrix(
                        precision.data(), D, kernels, false,
                        packed.gathered_matrices.data() + k * packed.model.gathered_matrix_stride);
                const std::vector<double> centred = mean;
                for (std::int64_t i = 0; i < D; ++i) {
                    mean[i] = 0;
                    for (std::int64_t j = 0; j < D; ++j)
                        mean[i] += precision[i * D + j] * centred[j];
                }
            } else if (form == Form::diag) {
                for (std::int64_t d = 0; d < D; ++d) {
                    const double precision = P[k * D + d] * P[k * D + d];
                    packed.precisions[run_index(K, D, columns, k, d)] = static_cast<T>(precision);
                    mean[d] *= precision;
                }
            } else if (form == Form::spherical) {
                packed.precisions[k] = static_cast<T>(P[k] * P[k]);
                for (double& m : mean) m *= P[k] * P[k];
            }
            for (std::int64_t d = 0; d < D; ++d)
                packed.precision_means[run_index(K, D, columns, k, d)] = static_cast<T>(mean[d]);
        });
    packed.model.precision_means = packed.precision_means.data();
    packed.model.precisions = packed.precisions.data();
}

}  // namespace

template <class T>
void pack_gradient(const MixtureParameters& parameters, std::int64_t tile_rows,
                   const Kernels<T>& kernels, PackedModel<T>& packed, int num_threads,
                   const runtime::Interrupt* interrupt) {
    packed.model.gradient_scale = T(1);
    if (parameters.form == Form::linear)
        return pack_slopes(parameters, kernels.factor_columns, packed);
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    const bool full = parameters.form == Form::full;
    const double* P = parameters.coefficients;
    const bool kept =
        full && D >= tuning::smallest_kept &&
        tile_rows * K * D * static_cast<std::int64_t>(sizeof(T)) <= tuning::largest_kept;
    packed.model.keeps_whitened = kept;
    // A precision is the product of its factor with itself.
    const std::int64_t row = full ? (kept ? D : D * D) * D : D;
    const int threads = runtime::threads_for(K * row, num_threads);
    if (full && D >= tuning::smallest_gathered_gradient) {
        std::int64_t stride = 0;
        visit_gathered_matrix(D, kernels, kept, [&](std::int64_t, std::int64_t) { ++stride; });
        packed.gathered_matrices.resize(static_cast<std::size_t>(K * stride));
        packed.model.gathered_matrices = packed.gathered_matrices.data();
        packed.model.gathered_matrix_stride = stride;
        if (kept) {
            runtime::parallel(K, threads, interrupt, [&](std::int64_t k, int, runtime::Region&) {
                pack_gathered_matrix(P + k * D * D, D, kernels, true,
                                     packed.gathered_matrices.data() + k * stride);
            });
            return;
        }
    }
    std::int64_t n_coefficients = parameters.form == Form::tied ? D * D : K;
    if (full) n_coefficients *= D * D;
    if (parameters.form == Form::diag) n_coefficients *= D;
    const int doublings = doublings_of_factors(parameters, n_coefficients, packed.model.origin);
    std::vector<double> divided;
    MixtureParameters scaled = parameters;
    if (doublings > 0) {
        divided.assign(P, P + n_coefficients);
        for (double& number : divided) number = std::ldexp(number, -doublings);
        scaled.coefficients = divided.data();
        packed.model.gradient_scale = static_cast<T>(std::ldexp(1.0, 2 * doublings));
    }
    if (parameters.form == Form::tied)
        pack_shared_precision(scaled.coefficients, D, kernels.factor_columns, packed, interrupt);
    pack_precisions(scaled, kernels, packed, threads, interrupt);
}

template void pack_gradient(const MixtureParameters&, std::int64_t, const Kernels<float>&,
                            PackedModel<float>&, int, const runtime::Interrupt*);
template void pack_gradient(const MixtureParameters&, std::int64_t, const Kernels<double>&,
                            PackedModel<double>&, int, const runtime::Interrupt*);

}  // namespace vbfast::estep
