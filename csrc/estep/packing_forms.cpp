#include "estep/packing_forms.h"

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/numbers.h"

namespace vbfast::estep {

namespace {

// Columns [j0, j0 + width) of an upper-triangular factor, down to the diagonal; returns the end.
template <class T, class Width>
T* pack_columns(const double* P, std::int64_t D, std::int64_t j0, Width width, T* out) {
    const double* column = P + j0;
    for (std::int64_t i = 0; i < j0; ++i, column += D, out += width)
        for (std::int64_t j = 0; j < width; ++j) out[j] = as_finite<T>(column[j]);
    for (std::int64_t i = 0; i < width; ++i, column += D)
        for (std::int64_t j = i; j < width; ++j) *out++ = as_finite<T>(column[j]);
    return out;
}

// An upper-triangular factor in blocks of columns, see kernels/estep/factor_forms-inl.h.
template <class T>
void pack_factor(const double* P, std::int64_t D, int columns, T* out) {
    std::int64_t j0 = D % columns;
    if (j0 > 0) out = pack_columns<T>(P, D, 0, j0, out);
    for (; j0 < D; j0 += columns)
        // Loops of known length take half the time. Most levels have six columns.
        out = columns == 6 ? pack_columns<T>(P, D, j0, std::integral_constant<int, 6>{}, out)
                           : pack_columns<T>(P, D, j0, columns, out);
}

// x P for an upper-triangular P, and the largest squared norm of a column of P.
struct Product {
    std::vector<double> values;
    double largest_column;
};

Product times_factor(const double* x, const double* P, std::int64_t D) {
    std::vector<double> memory(static_cast<std::size_t>(2 * D), 0.0);
    double *product = memory.data(), *squares = product + D;
    for (std::int64_t i = 0; i < D; ++i, P += D)
        for (std::int64_t j = i; j < D; ++j) {
            product[j] += x[i] * P[j];
            squares[j] += P[j] * P[j];
        }
    const double largest = *std::max_element(squares, squares + D);
    memory.resize(static_cast<std::size_t>(D));
    return {std::move(memory), largest};
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
    const auto [whitened, largest_column] = times_factor(mean, P, D);
    for (std::int64_t d = 0; d < D; ++d) packed.intercept[k * D + d] = static_cast<T>(-whitened[d]);
    pack_factor(P, D, kernels.factor_columns,
                packed.factor.data() + k * packed.model.factor_stride);
    return square_norm(mean, D) * largest_column;
}

template <class T>
void begin_tied(const MixtureParameters& parameters, const Kernels<T>& kernels,
                PackedModel<T>& packed) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    packed.factor.resize(static_cast<std::size_t>(D * (D + 1) / 2));
    packed.whitened_means.resize(static_cast<std::size_t>(K * D));
    pack_factor(parameters.coefficients, D, kernels.factor_columns, packed.factor.data());
    const std::vector<double> zero(static_cast<std::size_t>(D), 0.0);
    packed.steepest = times_factor(zero.data(), parameters.coefficients, D).largest_column;
}

template <class T>
double pack_tied(const MixtureParameters& parameters, const Kernels<T>&, PackedModel<T>& packed,
                 std::int64_t k, const double* mean) {
    const std::int64_t D = parameters.n_features;
    const std::vector<double> whitened = times_factor(mean, parameters.coefficients, D).values;
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
