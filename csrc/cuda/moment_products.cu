// sum r d d^T by tensor cores.
//
// In: weighted responsibilities (K, rows of the chunk), rows, centres rounded to T.
// Out: lower triangles, added to the partial sums of the partitions.
//
// Error: as in first_moments.cu; float32 products are three of TF32, see tensor_cores.h.
//
// Blocking: a block of threads has `width` by `width` numbers of a triangle, of one component. Each
// of its warps has all of them in registers, and takes turns with the others at the rows: a step of
// a product has `step` rows, whose fragments are read, weighed and split once for all numbers.
// Tiles above the diagonal are left out. Rows are listed as in second_moments.cu, and lie in shared
// memory features together, so far apart that the lanes of a fragment meet all banks.
#include "cuda/moment_products.h"

#include <algorithm>

#include "cuda/row_list.h"
#include "cuda/tensor_cores.h"

namespace vbfast::cuda {

namespace {

constexpr int n_threads = 128;
constexpr int n_warps = n_threads / 32;
constexpr int batch = 32;  // rows in shared memory

template <class T>
constexpr int width = sizeof(T) == 4 ? 64 : 32;
// From a row to the next one: 8 of 32 banks more than whole ones, or 4 of 16 of float64.
template <class T>
constexpr int row_stride = width<T> + (sizeof(T) == 4 ? 8 : 4);

template <class T>
__global__ void __launch_bounds__(n_threads, 1)
    moment_products(Chunk<T> chunk, const T* all_centres, int n_components, bool pooled,
                    PartialSums partial) {
    using Cores = TensorCores<T>;
    constexpr int W = width<T>, stride = row_stride<T>, step = Cores::K;
    constexpr int row_tiles = W / Cores::M, column_tiles = W / Cores::N;
    constexpr int registers = Cores::c_registers;
    T* left = shared_memory<T>();
    T* right = left + batch * stride;
    T* weights = right + batch * stride;
    int* counts = reinterpret_cast<int*>(weights + batch);
    std::int16_t* list = reinterpret_cast<std::int16_t*>(counts + tile_rows / 32);
    const int D = chunk.n_features;
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
    const int g = lane / 4, t = lane % 4;
    const int together = pooled ? 1 : n_components;  // components of a range
    const Range range = chunk.ranges[static_cast<int>(blockIdx.x) / together];
    const TriangleBlock block(static_cast<int>(blockIdx.y));
    const bool diagonal = block.row == block.column;
    const int first_row = block.row * W, first_column = block.column * W;
    if (diagonal) right = left;
    double* second = partial.sums + range.partition * partial.stride + partial.second;
    const int first_component = static_cast<int>(blockIdx.x) % together;
    const int last_component = pooled ? n_components : first_component + 1;
    if (!pooled) second += first_component * (static_cast<std::int64_t>(D) * (D + 1) / 2);

    for (int first_tile = range.first_tile; first_tile < range.last_tile;
         first_tile += group_tiles) {
        const int last_tile =
            first_tile + group_tiles < range.last_tile ? first_tile + group_tiles : range.last_tile;
        for (int k = first_component; k < last_component; ++k) {
            const T* centre = all_centres + k * static_cast<std::int64_t>(D);
            int n_summed = 0;
            T products[row_tiles][column_tiles][registers];
#pragma unroll
            for (int m = 0; m < row_tiles; ++m)
#pragma unroll
                for (int n = 0; n < column_tiles; ++n)
#pragma unroll
                    for (int i = 0; i < registers; ++i) products[m][n][i] = 0;
            for (int tile = first_tile; tile < last_tile; ++tile) {
                const T* rows_of_tile = chunk.rows + chunk.first_row(tile) * chunk.row_stride;
                const T* resp = chunk.joint + k * chunk.joint_stride +
                                static_cast<std::int64_t>(tile) * tile_rows;
                const int n_listed =
                    list_rows<n_threads>(resp, chunk.tiles[tile].n_rows, list, counts);
                n_summed += n_listed;
                for (int begun = 0; begun < n_listed; begun += batch) {
                    // Rows that are not there weigh nothing.
                    for (int i = thread; i < batch * W; i += n_threads) {
                        const int row = i / W, d = i % W;
                        const T* x = begun + row < n_listed
                                         ? rows_of_tile + list[begun + row] * chunk.row_stride
                                         : nullptr;
                        const int d_left = first_row + d, d_right = first_column + d;
                        left[row * stride + d] =
                            x && d_left < D ? x[d_left] - centre[d_left] : T(0);
                        if (!diagonal)
                            right[row * stride + d] =
                                x && d_right < D ? x[d_right] - centre[d_right] : T(0);
                    }
                    if (thread < batch)
                        weights[thread] =
                            begun + thread < n_listed ? resp[list[begun + thread]] : T(0);
                    __syncthreads();
                    for (int row = warp * step; row < batch; row += n_warps * step) {
                        if (begun + row >= n_listed) break;
                        typename Cores::A a[row_tiles];
#pragma unroll
                        for (int m = 0; m < row_tiles; ++m)
#pragma unroll
                            for (int i = 0; i < Cores::a_registers; ++i) {
                                const int of = row + Cores::a_column(t, i);
                                a[m].set(i,
                                         weights[of] *
                                             left[of * stride + m * Cores::M + Cores::a_row(g, i)]);
                            }
#pragma unroll
                        for (int n = 0; n < column_tiles; ++n) {
                            typename Cores::B b;
#pragma unroll
                            for (int i = 0; i < Cores::b_registers; ++i)
                                b.set(
                                    i,
                                    right[(row + Cores::b_row(t, i)) * stride + n * Cores::N + g]);
#pragma unroll
                            for (int m = 0; m < row_tiles; ++m)
                                if (!diagonal || n * Cores::N < (m + 1) * Cores::M)
                                    Cores::multiply_add(products[m][n], a[m], b);
                        }
                    }
                    __syncthreads();
                }
            }
            if (n_summed == 0) continue;
            // The sums of the warps, one tile of columns after the other.
            T* of_warps = shared_memory<T>();
#pragma unroll
            for (int n = 0; n < column_tiles; ++n) {
#pragma unroll
                for (int m = 0; m < row_tiles; ++m)
#pragma unroll
                    for (int i = 0; i < registers; ++i)
                        of_warps[(m * registers + i) * n_threads + thread] = products[m][n][i];
                __syncthreads();
                for (int i = thread; i < row_tiles * registers * 32; i += n_threads) {
                    const int place = i / 32, of_lane = i % 32;
                    const int d = first_row + place / registers * Cores::M +
                                  Cores::c_row(of_lane / 4, place % registers);
                    const int e = first_column + n * Cores::N +
                                  Cores::c_column(of_lane % 4, place % registers);
                    if (d >= D || e > d) continue;
                    double sum = 0;
                    for (int w = 0; w < n_warps; ++w)
                        sum += static_cast<double>(of_warps[place * n_threads + w * 32 + of_lane]);
                    second[d * (static_cast<std::int64_t>(d) + 1) / 2 + e] += sum;
                }
                __syncthreads();
            }
        }
    }
}

}  // namespace

template <class T>
void add_moment_products(const Chunk<T>& chunk, const T* centres, int n_components, bool pooled,
                         const PartialSums& partial, cudaStream_t stream) {
    using Cores = TensorCores<T>;
    const int blocks = (chunk.n_features + width<T> - 1) / width<T>;
    const std::size_t staged = sizeof(T) * (2 * batch * row_stride<T> + batch) +
                               sizeof(int) * (tile_rows / 32) + sizeof(std::int16_t) * tile_rows;
    const std::size_t of_warps = sizeof(T) * (width<T> / Cores::M) * Cores::c_registers * n_threads;
    const dim3 grid(chunk.n_ranges * (pooled ? 1 : n_components), blocks * (blocks + 1) / 2);
    launch(moment_products<T>, grid, dim3(n_threads), std::max(staged, of_warps), stream, chunk,
           centres, n_components, pooled, partial);
}

template void add_moment_products(const Chunk<float>&, const float*, int, bool, const PartialSums&,
                                  cudaStream_t);
template void add_moment_products(const Chunk<double>&, const double*, int, bool,
                                  const PartialSums&, cudaStream_t);

}  // namespace vbfast::cuda
