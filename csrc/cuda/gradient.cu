// The gradient of the evidence in the rows.
//
// In: responsibilities (K, rows of the chunk), rows, the model.
// Out: (rows of the chunk, D).
//
// Error: components are added up one after the other in T, about (K + 2 D) epsilon of the sum of
// their sizes.
//
// Blocking: with a triangular factor a thread has a row, and goes through the lines of a component
// twice: for y = (x - mean) P, then for P y. Both vectors of a row lie in global memory with rows
// side by side, and stay in L1 where there are few features. Otherwise a thread has a feature of a
// row. A component that has nothing of a row is left out.
#include "cuda/gradient.h"

#include "cuda/mathematics.h"

namespace vbfast::cuda {

namespace {

template <class T>
__global__ void __launch_bounds__(tile_rows)
    through_factors(Chunk<T> chunk, FactorLines<T> model, int n_components, int line, T* work,
                    T* out) {
    const int D = chunk.n_features, J = model.columns, first_column = line - J;
    const std::int64_t n = chunk.n_rows();
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * tile_rows + threadIdx.x;
    const int tile = static_cast<int>(blockIdx.x);
    if (static_cast<int>(threadIdx.x) >= chunk.tiles[tile].n_rows) return;
    const T* x = chunk.rows + (chunk.first_row(tile) + threadIdx.x) * chunk.row_stride;
    T* y = work + row;
    T* gradient = work + D * n + row;
    for (int d = 0; d < D; ++d) gradient[d * n] = 0;
    for (int k = 0; k < n_components; ++k) {
        const T q = chunk.joint[k * chunk.joint_stride + row];
        if (q == T(0)) continue;
        const T* lines = model.lines + k * model.lines_per_component * line;
        // Of a block of columns: y_j, then what they add to P y.
        for (int j0 = 0; j0 < D; j0 += J) {
            const int end = j0 + J < D ? j0 + J : D;
            for (int j = j0; j < end; ++j) {
                T sum = 0;
                for (int i = 0; i <= j; ++i) {
                    const T* numbers = lines + static_cast<std::int64_t>(i) * line;
                    const T d = (x[i] - numbers[0]) - numbers[1];
                    sum = fma(d, numbers[first_column + j - j0], sum);
                }
                y[(j - j0) * n] = sum;
            }
            for (int i = 0; i < end; ++i) {
                const T* numbers = lines + static_cast<std::int64_t>(i) * line + first_column;
                T sum = 0;
                for (int j = j0; j < end; ++j) sum = fma(numbers[j - j0], y[(j - j0) * n], sum);
                gradient[i * n] -= q * sum;
            }
            lines += static_cast<std::int64_t>(model.length(j0, D)) * line;
        }
    }
    for (int d = 0; d < D; ++d) out[row * D + d] = gradient[d * n];
}

template <class T>
__global__ void by_feature(Chunk<T> chunk, Distance kind, DistanceModel<T> model, int n_components,
                           T* out) {
    const int D = chunk.n_features;
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= chunk.n_rows() * D) return;
    const std::int64_t row = i / D;
    const int d = static_cast<int>(i % D);
    const int tile = static_cast<int>(row / tile_rows), in_tile = static_cast<int>(row % tile_rows);
    if (in_tile >= chunk.tiles[tile].n_rows) return;
    const T x = chunk.rows[(chunk.first_row(tile) + in_tile) * chunk.row_stride + d];
    T sum = 0;
    for (int k = 0; k < n_components; ++k) {
        const T q = chunk.joint[k * chunk.joint_stride + row];
        if (q == T(0)) continue;
        const std::int64_t place = k * static_cast<std::int64_t>(D) + d;
        T slope = model.centres[place];
        if (kind == Distance::scaled)
            slope =
                -model.scales[place] * fma(x - slope, model.scales[place], model.intercepts[place]);
        else if (kind == Distance::plain)
            slope = T(2) * model.half_precision[k] * (slope - x);
        sum = fma(q, slope, sum);
    }
    out[i] = sum;
}

}  // namespace

template <class T>
void factor_gradient(const Chunk<T>& chunk, const FactorLines<T>& model, int n_components, T* work,
                     T* out, cudaStream_t stream) {
    launch(through_factors<T>, dim3(chunk.n_tiles), dim3(tile_rows), 0, stream, chunk, model,
           n_components, model.line_length(), work, out);
}

template <class T>
void distance_gradient(const Chunk<T>& chunk, Distance kind, const DistanceModel<T>& model,
                       int n_components, T* out, cudaStream_t stream) {
    const std::int64_t n = chunk.n_rows() * chunk.n_features;
    launch(by_feature<T>, dim3(static_cast<unsigned>((n + 255) / 256)), dim3(256), 0, stream, chunk,
           kind, model, n_components, out);
}

template void factor_gradient(const Chunk<float>&, const FactorLines<float>&, int, float*, float*,
                              cudaStream_t);
template void factor_gradient(const Chunk<double>&, const FactorLines<double>&, int, double*,
                              double*, cudaStream_t);
template void distance_gradient(const Chunk<float>&, Distance, const DistanceModel<float>&, int,
                                float*, cudaStream_t);
template void distance_gradient(const Chunk<double>&, Distance, const DistanceModel<double>&, int,
                                double*, cudaStream_t);

}  // namespace vbfast::cuda
