// What one instruction-set level offers: plain data and function pointers, the only things that
// cross the border between csrc/targets and the code that runs on every processor. Nothing here may
// have an inline function: a linker keeps one copy of those, perhaps the AVX-512 one, for
// everybody.
#pragma once

#include <cstdint>

namespace vbfast {

enum class Covariance : int { full, tied, diag, spherical };
enum class Moments : int { none, means, spherical, diag, tied, full };
enum class Assignment : int { posterior, hard, given };

// Squares up to which they, times weights that need no scaling (engine/weights.py), and sums of a
// tile of them keep clear of the end of the range.
template <class T>
constexpr T ordinary_square = sizeof(T) == 8 ? T(0x1p960) : T(0x1p96);

// A mixture in the layout of the kernels, in the precision T of the computation.
//
// Positions are relative to `shift`, a point amid the means, so that float32 rows keep their
// digits. A component whose mean is within some hundred standard deviations of it is `near`: the
// rounding of rows and moments about the shift is then far below the tolerance of the contract, and
// rows need not be centred one component at a time. Of the others, the far ones, the rows are
// centred as they came, before anything is squared: a row has the digits that its own distance to
// the mean allows, wherever the shift is.
template <class T>
struct Model {
    Covariance covariance;
    Moments moments;
    std::int64_t n_components;
    std::int64_t n_features;
    std::int64_t joint_stride;     // numbers from one group of tile.joint to the next
    std::int64_t padded_features;  // row length of row-major tiles and of `means`, a multiple of 16
    const T* shift;                // (n_features,)
    const T* means;                // (n_components, padded_features), minus the shift
    // Where some component is far, tiles keep the rows as they came, and the points that rows of
    // far or listed components are taken from are the means themselves, rounded. What rounding to
    // float32 left of a mean is the remainder.
    bool all_near;
    bool extreme;        // some mean, relative to the shift, or factor has no ordinary square
    const T* centres;    // (n_components, padded_features); `means` where all components are near
    const T* remainder;  // (n_components, padded_features); null in float64, or where all are near
    const T* offset;     // (n_components,)
    const std::uint8_t* near;  // (n_components,)
    // full and tied: the factor in column blocks, see kernels/log_joint.h; diag: pairs (scale,
    // -mean * scale) by feature; spherical: the means.
    const T* factor;
    std::int64_t factor_stride;  // from one component to the next; 0 when tied
    const T* intercept;          // full: -mean * factor, (n_components, n_features)
    const T* whitened_means;     // tied: mean * factor, (n_components, n_features)
    const T* half_precision;     // spherical: precision / 2, (n_components,)
    const T* half_norm;          // spherical: |mean|^2 / 2, (n_components,)
    // Coefficients of the gradient in the rows, see kernels/estep/mixed_gradient-inl.h; null
    // without it.
    const T* precision_means;
    const T* precisions;
    const T* shared_precision;
    // full: the matrices of kernels/estep/gathered_gradient-inl.h; null where lists never pay.
    const T* listed_matrices;
    std::int64_t listed_matrix_stride;
    bool keeps_whitened;  // tiles have memory for whitened rows
    bool nearest;         // labels alone are wanted, and those of the nearest mean
    // Second moments by outer products of listed rows instead of one dense product.
    const std::uint8_t* listed;  // (n_components,)
    std::int64_t n_moments;      // columns of the dense product
    const std::int32_t* left;    // (n_moments,) a moment is the product of two extended features:
    const std::int32_t* right;   // D is the constant one, D + 1 the squared norm
    std::int64_t dense_stride;   // doubles from one block of components to the next
    std::int64_t listed_stride;  // doubles from one component to the next
};

// Sums that a tile adds to its partition.
struct TileSums {
    double weight;
    double log_evidence;
    double expected_log_joint;
    double entropy;
    double kl;
    double lowest_log_evidence;  // of the rows with weight; +infinity without any
};

// Consecutive rows, where they come from, what is wanted of them, and memory to work in.
template <class T>
struct Tile {
    const char* rows;
    std::int64_t row_stride;  // bytes
    std::int64_t feature_stride;
    std::int64_t n_rows;
    const double* weights;            // (n_rows,) or null
    const T* given;                   // (n_rows, n_components) or null
    const std::int64_t* given_label;  // (n_rows,) or null

    Assignment assignment;
    bool entropy;
    T* out_log_evidence;  // each (n_rows,) or null
    std::int64_t* out_labels;
    T* out_resp;  // (n_rows, n_components)
    T* out_entropy;
    T* out_expected_log_joint;
    T* out_gradient;   // (n_rows, n_features)
    T* out_log_joint;  // (n_rows, n_components)

    // Asked between parts of a long local step whether to leave it, or null.
    bool (*stop)(void* context);
    void* stop_context;

    // Scratch, 64-byte aligned, for `capacity` rows, a multiple of the group.
    T* features;           // groups of (n_features + 2, group rows): rows in lanes
    T* raw;                // the same as they came, where some component is far; else null
    T* row_major;          // (capacity, padded_features)
    T* joint;              // groups of joint_stride, (n_components, group rows): log-joint, then
                           // responsibilities
    T* row_max;            // (capacity,)
    T* row_scale;          // (capacity,): what a responsibility is multiplied by
    T* row_weight;         // (capacity,)
    T* inverse_sum;        // (capacity,): one over the sum of the exponentials, or zero; both are
                           // other sums until kernels/estep/posterior-inl.h has seen all rows
    std::int32_t* label;   // (capacity,)
    std::int32_t* list;    // (capacity,)
    T* list_weight;        // (capacity,)
    T* group_scratch;      // (n_features, group rows)
    T* gradient;           // groups of (n_features, group rows), or (capacity, padded_features)
    std::int32_t* active;  // (max(n_components, n_features),)
    T* whitened;           // groups of (n_components, n_features, group rows), or null
    T* panel;              // moment panel or outer-product rows, `panel_size` numbers
    std::int64_t panel_size;
    std::int64_t panel_stride;  // from one of the rows to the next

    TileSums sums;
    std::int64_t bad_row;   // first row that is not finite, or -1
    bool squares_overflow;  // some row is so far from the shift that its squares are not ordinary
};

template <class T>
struct KernelSet {
    int group_rows;         // rows that are processed together in lanes
    int factor_columns;     // columns of a block of the factor
    int moment_components;  // block of the dense moments
    int moment_features;
    int lanes;            // numbers of a vector
    int product_columns;  // block of the listed matrices
    // Local step: loads the rows, evaluates log-joint and responsibilities, fills outputs and sums.
    void (*local_step)(const Model<T>&, Tile<T>&);
    // Summary step for components first to last; `dense` and `listed` are the partition's sums. The
    // range starts at a multiple of moment_components.
    void (*summary_step)(const Model<T>&, Tile<T>&, std::int64_t first, std::int64_t last,
                         double* dense, double* listed, double* pooled);
    // k-means++: adds w min(closest, |x - c|^2) to each candidate's potential, and stores the
    // minimum in `lowered`, a row of stride `lowered_stride` a candidate, unless that is null.
    // `candidates` is (n_candidates, n_features), rows of the data, which are exact in T.
    void (*seeding_step)(Tile<T>&, std::int64_t n_features, const T* candidates,
                         std::int64_t n_candidates, const T* closest, T* lowered,
                         std::int64_t lowered_stride, double* potentials);
};

// A Gaussian's moments and what becomes of them: gradients in means, in the covariance and in the
// precision factor. Matrices are (D, D), row-major; see kernels/linalg/gradients-inl.h.
struct MatrixGradient {
    std::int64_t n_features;
    std::int64_t n_vectors;  // first moments, one for each mean that shares the matrices
    double count;
    const double* vectors;  // (n_vectors, D)
    const double* second;
    const double* factor;
    double* whitened;  // (D + n_vectors, D), scratch
    double* in_means;  // (n_vectors, D)
    double* in_covariance;
    double* in_factor;
};

// Linear algebra of one (D, D) matrix, by blocks of columns; see kernels/linalg/matrices-inl.h.
// `first` is a multiple of block_columns, and `block` scratch memory for D * block_columns numbers,
// or twice as many for gradients.
struct MatrixSet {
    int block_columns;
    // The blocks of a factor in their order; false if the matrix is not positive definite.
    bool (*factor_block)(const double* matrix, std::int64_t D, std::int64_t first, double* factor,
                         double* block);
    // The blocks of the inverse of a factor, in any order.
    void (*invert_block)(std::int64_t D, std::int64_t first, double* factor, double* block);
    // What the blocks of B^-1 A add to its sum of squares, for upper triangular A and B.
    double (*ratio_block)(const double* a, const double* b, std::int64_t D, std::int64_t first,
                          double* block);
    // out = matrix - (a b^T + b a^T), exactly symmetric if the matrix is.
    void (*subtract_symmetric)(const double* matrix, const double* a, const double* b,
                               std::int64_t D, double* out);
    // The blocks of a gradient in any order, all of them by one step before any by the next.
    void (*transpose_block)(const MatrixGradient& gradient, std::int64_t first, double* block);
    void (*whiten_block)(const MatrixGradient& gradient, std::int64_t first, double* block);
    void (*unwhiten_block)(const MatrixGradient& gradient, std::int64_t first, double* block);
};

struct ArrayTable;

struct KernelTable {
    const char* name;  // the level, as VBFAST_SIMD spells it
    KernelSet<float> f32;
    KernelSet<double> f64;
    MatrixSet matrices;
    const ArrayTable* arrays;  // kernels/arrays/table.h
};

}  // namespace vbfast
