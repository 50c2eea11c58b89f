#include "estep/packing_forms.h"

#include <algorithm>
#include <vector>

#include "runtime/numbers.h"

namespace vbfast::estep {

namespace {

// An upper-triangular factor in blocks of columns, see kernels/estep/factor_forms-inl.h.
template <class T>
void pack_factor(const double* P, std::int64_t D, int columns, T* out) {
    std::int64_t j0 = 0;
    std::int64_t width = D % columns == 0 ? columns : D % columns;
    for (; j0 < D; j0 += width, width = columns) {
        for (std::int64_t i = 0; i < j0; ++i)
            for (std::int64_t j = 0; j < width; ++j) *out++ = as_finite<T>(P[i * D + j0 + j]);
        for (std::int64_t i = 0; i < width; ++i)
            for (std::int64_t j = i; j < width; ++j)
                *out++ = as_finite<T>(P[(j0 + i) * D + j0 + j]);
    }
}

// x P for an upper-triangular P.
std::vector<double> times_factor(const double* x, const double* P, std::int64_t D) {
    std::vector<double> product(static_cast<std::size_t>(D), 0.0);
    for (std::int64_t i = 0; i < D; ++i)
        for (std::int64_t j = i; j < D; ++j) product[j] += x[i] * P[i * D + j];
    return product;
}

// The largest squared norm of a column of an upper-triangular P.
double largest_column(const double* P, std::int64_t D) {
    std::vector<double> squares(static_cast<std::size_t>(D), 0.0);
    for (std::int64_t i = 0; i < D; ++i)
        for (std::int64_t j = i; j < D; ++j) squares[j] += P[i * D + j] * P[i * D + j];
    return *std::max_element(squares.begin(), squares.end());
}

double square_norm(const double* x, std::int64_t D) {
    double norm = 0;
    for (std::int64_t d = 0; d < D; ++d) norm += x[d] * x[d];
    return norm;
}

template <class T>
void begin_full(const MixtureParameters& parameters, const Kernels<T>&, PackedModel<T>& packed) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    packed.model.factor_stride = D * (D + 1) / 2;
    packed.intercept.resize(static_cast<std::size_t>(K * D));
    packed.factor.resize(static_cast<std::size_t>(K * packed.model.factor_stride));
}

template <class T>
double pack_full(const MixtureParameters& parameters, const Kernels<T>& kernels,
                 PackedModel<T>& packed, std::int64_t k, const double* mean) {
    const std::int64_t D = parameters.n_features;
    const double* P = parameters.coefficients + k * D * D;
    // First what reads it row by row: packing, by columns, then finds it in cache.
    const double distance = square_norm(mean, D) * largest_column(P, D);
    const std::vector<double> whitened = times_factor(mean, P, D);
    for (std::int64_t d = 0; d < D; ++d) packed.intercept[k * D + d] = static_cast<T>(-whitened[d]);
    pack_factor(P, D, kernels.factor_columns,
                packed.factor.data() + k * packed.model.factor_stride);
    return distance;
}

template <class T>
void begin_tied(const MixtureParameters& parameters, const Kernels<T>& kernels,
                PackedModel<T>& packed) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    packed.factor.resize(static_cast<std::size_t>(D * (D + 1) / 2));
    packed.whitened_means.resize(static_cast<std::size_t>(K * D));
    pack_factor(parameters.coefficients, D, kernels.factor_columns, packed.factor.data());
    packed.steepest = largest_column(parameters.coefficients, D);
}

template <class T>
double pack_tied(const MixtureParameters& parameters, const Kernels<T>&, PackedModel<T>& packed,
                 std::int64_t k, const double* mean) {
    const std::int64_t D = parameters.n_features;
    const std::vector<double> whitened = times_factor(mean, parameters.coefficients, D);
    for (std::int64_t d = 0; d < D; ++d)
        packed.whitened_means[k * D + d] = static_cast<T>(whitened[d]);
    return square_norm(mean, D) * packed.steepest;
}

template <class T>
void begin_diag(const MixtureParameters& parameters, const Kernels<T>&, PackedModel<T>& packed) {
    packed.model.factor_stride = 2 * parameters.n_features;
    packed.factor.resize(
        static_cast<std::size_t>(parameters.n_components * packed.model.factor_stride));
}

template <class T>
double pack_diag(const MixtureParameters& parameters, const Kernels<T>&, PackedModel<T>& packed,
                 std::int64_t k, const double* mean) {
    const std::int64_t D = parameters.n_features;
    double distance = 0;
    for (std::int64_t d = 0; d < D; ++d) {
        const double scale = parameters.coefficients[k * D + d];
        distance = std::max(distance, mean[d] * mean[d] * scale * scale);
        packed.factor[2 * (k * D + d)] = as_finite<T>(scale);
        packed.factor[2 * (k * D + d) + 1] = static_cast<T>(-mean[d] * scale);
    }
    return distance;
}

template <class T>
void begin_spherical(const MixtureParameters& parameters, const Kernels<T>&,
                     PackedModel<T>& packed) {
    packed.half_precision.resize(static_cast<std::size_t>(parameters.n_components));
    packed.half_norm.resize(static_cast<std::size_t>(parameters.n_components));
}

template <class T>
double pack_spherical(const MixtureParameters& parameters, const Kernels<T>&,
                      PackedModel<T>& packed, std::int64_t k, const double* mean) {
    const double P = parameters.coefficients[k];
    double distance = 0;
    for (std::int64_t d = 0; d < parameters.n_features; ++d)
        distance = std::max(distance, mean[d] * mean[d] * P * P);
    packed.half_precision[k] = static_cast<T>(0.5 * P * P);
    packed.half_norm[k] = static_cast<T>(0.5 * square_norm(mean, parameters.n_features));
    return distance;
}

template <class T>
void begin_linear(const MixtureParameters& parameters, const Kernels<T>& kernels,
                  PackedModel<T>& packed) {
    const std::int64_t padded =
        runtime::round_up(parameters.n_components, kernels.linear_components);
    packed.factor.assign(static_cast<std::size_t>(padded * parameters.n_features), T(0));
}

template <class T>
double pack_linear(const MixtureParameters& parameters, const Kernels<T>& kernels,
                   PackedModel<T>& packed, std::int64_t k, const double*) {
    const std::int64_t D = parameters.n_features, block = kernels.linear_components;
    T* out = packed.factor.data() + k / block * block * D + k % block;
    for (std::int64_t d = 0; d < D; ++d)
        out[d * block] = as_finite<T>(parameters.coefficients[k * D + d]);
    return 0;
}

// In the order of Form.
template <class T>
constexpr FormPacking<T> packings[] = {{begin_full<T>, pack_full<T>},
                                       {begin_tied<T>, pack_tied<T>},
                                       {begin_diag<T>, pack_diag<T>},
                                       {begin_spherical<T>, pack_spherical<T>},
                                       {begin_linear<T>, pack_linear<T>}};

}  // namespace

template <class T>
const FormPacking<T>& packing_of(Form form) {
    return packings<T>[static_cast<int>(form)];
}

template const FormPacking<float>& packing_of(Form);
template const FormPacking<double>& packing_of(Form);

}  // namespace vbfast::estep
