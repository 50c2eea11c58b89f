// A mixture as the kernels of the E-step read it. Plain data, as table.h asks.
#pragma once

#include <cstdint>

namespace vbfast::estep {

enum class Form : int { full, tied, diag, spherical, linear };
enum class Moments : int { none, first, diag, spherical, pooled, full };

// The limit of an ordinary square. Squares below it stay clear of the end of the range, and so do
// their products with weights that need no scaling, and the sums of both over a tile.
template <class T>
constexpr T ordinary_square = sizeof(T) == 8 ? T(0x1p960) : T(0x1p96);

// A mixture in the layout of the kernels, in the precision T of the computation.
//
// Positions are relative to `origin`, a point amid the means, so that float32 rows keep their
// digits. A component is `near` if its mean lies within 1,000 (float64) or 32 (float32) standard
// deviations of the origin. The rounding of rows and moments about the origin is then far below the
// tolerance of the numerical contract, and no row needs to be centred for that component alone. For
// a far component, rows as they came are centred before anything is squared: a row then has the
// digits that its own distance to the mean allows, wherever the origin is.
//
// Under the linear form the origin is zero, and all components are near: their means are no more
// than the points that moments are taken about.
template <class T>
struct Model {
    Form form;
    Moments moments;
    std::int64_t n_components;
    std::int64_t n_features;
    std::int64_t joint_stride;     // numbers from one group of tile.joint to the next
    std::int64_t padded_features;  // row length of row-major tiles and of `means`, a multiple of 16
    const T* origin;               // (n_features,)
    const T* means;                // (n_components, padded_features), minus the origin
    // Where some component is far, tiles keep the rows as they came. Rows of far and of gathered
    // components are then centred with the means themselves: `centres` has them rounded to T, and
    // `centres_low` what rounding to float32 took from them.
    bool all_near;
    bool extreme;      // some mean, relative to the origin, or factor has no ordinary square
    const T* centres;  // (n_components, padded_features); `means` where all components are near
    const T*
        centres_low;  // (n_components, padded_features); null in float64, or where all are near
    const T* offset;  // (n_components,)
    const std::uint8_t* near;  // (n_components,)
    // full and tied: the factor in column blocks, see factor_forms-inl.h; diag: pairs
    // (scale, -mean * scale) by feature; linear: theta, see linear_form-inl.h.
    const T* factor;
    std::int64_t factor_stride;  // from one component to the next; 0 when tied
    const T* intercept;          // full: -mean * factor, (n_components, n_features)
    const T* whitened_means;     // tied: mean * factor, (n_components, n_features)
    const T* half_precision;     // spherical: precision / 2, (n_components,)
    const T* half_norm;          // spherical: |mean|^2 / 2, (n_components,)
    // Coefficients of the gradient in the rows, see mixed_gradient-inl.h; null without it.
    const T* precision_means;
    const T* precisions;
    const T* shared_precision;
    T gradient_scale;  // what precisions are divided by there, lest they overflow; a power of four
    // full: the matrices of gathered_gradient-inl.h; null where gathering never pays.
    const T* gathered_matrices;
    std::int64_t gathered_matrix_stride;
    bool keeps_whitened;  // tiles have memory for whitened rows
    bool nearest;         // labels alone are wanted, and those of the nearest mean
    // Components whose second moments are outer products of gathered rows, not one dense product.
    const std::uint8_t* gathered;  // (n_components,)
    bool direct;                   // few components, whose moments need no panel
    double sparse_share;           // of responsibilities that count, below which tiles are sparse
    std::int64_t n_moments;        // columns of the dense product
    const std::int32_t* left;      // (n_moments,) a moment is the product of two extended features:
    const std::int32_t* right;     // D is the constant one, D + 1 the squared norm
    std::int64_t dense_stride;     // doubles from one block of components to the next
    std::int64_t gathered_stride;  // doubles from one component to the next
};

}  // namespace vbfast::estep
