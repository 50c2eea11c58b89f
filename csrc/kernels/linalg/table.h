// What one instruction-set level offers to the linear algebra. As in kernels/estep/table.h, plain
// data and function pointers only.
#pragma once

#include <cstdint>

namespace vbfast::linalg {

// The moments of a Gaussian, and where its gradients go: in the means, in the covariance and in the
// precision factor. Matrices are (D, D), row-major; see gradients-inl.h.
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

// Linear algebra of one (D, D) matrix, by blocks of columns; see matrices-inl.h.
// `first` is a multiple of block_columns, and `block` scratch memory for D * block_columns numbers,
// or twice as many for gradients.
struct Kernels {
    int block_columns;
    // The blocks of a factor in their order; false if the matrix is not positive definite.
    bool (*factor_block)(const double* matrix, std::int64_t D, std::int64_t first, double* factor,
                         double* block);
    // The blocks of the inverse of a factor, in any order.
    void (*invert_block)(std::int64_t D, std::int64_t first, double* factor, double* block);
    // What the blocks of B^-1 A add to its sum of squares, for upper triangular A and B.
    double (*ratio_block)(const double* a, const double* b, std::int64_t D, std::int64_t first,
                          double* block);
    // The blocks of U U^T of an upper triangular factor U, in any order. Scratch memory of twice
    // as many numbers.
    void (*square_block)(const double* factor, std::int64_t D, std::int64_t first, double* out,
                         double* block);
    // out = matrix - (a b^T + b a^T), exactly symmetric if the matrix is.
    void (*subtract_symmetric)(const double* matrix, const double* a, const double* b,
                               std::int64_t D, double* out);
    // out = kept (matrix - (a b^T + b a^T)) + taken other, likewise.
    void (*average_moved)(const double* matrix, const double* a, const double* b, double kept,
                          const double* other, double taken, std::int64_t D, double* out);
    // The blocks of a gradient in any order, all of them by one step before any by the next.
    void (*transpose_block)(const MatrixGradient& gradient, std::int64_t first, double* block);
    void (*whiten_block)(const MatrixGradient& gradient, std::int64_t first, double* block);
    void (*unwhiten_block)(const MatrixGradient& gradient, std::int64_t first, double* block);
    // At most block_columns rows of standard normals, replaced by draws; see draws-inl.h.
    void (*draw_block)(const double* factor, const double* mean, std::int64_t D,
                       std::int64_t n_rows, double* rows, double* block);
};

// The kernels of the level in use (runtime/dispatch.h).
const Kernels& kernels();

}  // namespace vbfast::linalg
