// sum r d d^T.
//
// In: weighted responsibilities (K, rows of the chunk), rows, centres rounded to T.
// Out: lower triangles, added to the partial sums of the partitions.
//
// Error: as in first_moments.cu.
//
// Blocking: a block of threads has 8 S by 8 S numbers of a triangle, of one component; a thread has
// S by S of them in registers, and reads 2 S numbers a row for S^2 multiply-adds. A diagonal block
// needs 36 threads, another one 64: groups of them take turns with the rows, and those that are
// left over wait. Only rows that have something of the component are read: they are listed, in
// their order, once a tile. Where components are far apart, most are not.
#include <algorithm>

#include "cuda/mathematics.h"
#include "cuda/packs.h"
#include "cuda/row_list.h"
#include "cuda/summary.h"

namespace vbfast::cuda {

namespace {

constexpr int n_threads = 128;
constexpr int batch = 32;  // rows in shared memory
constexpr int side = 8;    // of a block, in squares of S by S

template <class T, class Sum, int S>
__global__ void __launch_bounds__(n_threads, 1)
    second_moments(Chunk<T> chunk, const T* all_centres, int n_components, bool pooled,
                   PartialSums partial) {
    constexpr int width = side * S;
    constexpr int squares = S * S;
    Sum* left = shared_memory<Sum>();
    Sum* right = left + batch * width;
    Sum* weights = right + batch * width;
    int* counts = reinterpret_cast<int*>(weights + batch);
    std::int16_t* list = reinterpret_cast<std::int16_t*>(counts + tile_rows / 32);
    const int D = chunk.n_features;
    const int thread = static_cast<int>(threadIdx.x);
    const int together = pooled ? 1 : n_components;  // components of a range
    const Range range = chunk.ranges[static_cast<int>(blockIdx.x) / together];
    const TriangleBlock block(static_cast<int>(blockIdx.y));
    const bool diagonal = block.row == block.column;
    const int first_row = block.row * width, first_column = block.column * width;
    const int height = D - first_row < width ? D - first_row : width;
    const int breadth = D - first_column < width ? D - first_column : width;
    const int down = (height + S - 1) / S, across = (breadth + S - 1) / S;
    const int n_squares = diagonal ? down * (down + 1) / 2 : down * across;
    const int groups = n_threads / n_squares, group = thread / n_squares;
    int own_row = 0, own_column = thread % n_squares;
    if (diagonal) {
        while (own_column > own_row) own_column -= ++own_row;
    } else {
        own_row = own_column / across;
        own_column %= across;
    }
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
            Sum acc[S][S];
#pragma unroll
            for (int i = 0; i < S; ++i)
#pragma unroll
                for (int j = 0; j < S; ++j) acc[i][j] = 0;
            for (int t = first_tile; t < last_tile; ++t) {
                const T* rows_of_tile = chunk.rows + chunk.first_row(t) * chunk.row_stride;
                const T* resp =
                    chunk.joint + k * chunk.joint_stride + static_cast<std::int64_t>(t) * tile_rows;
                const int n_listed =
                    list_rows<n_threads>(resp, chunk.tiles[t].n_rows, list, counts);
                n_summed += n_listed;
                for (int begun = 0; begun < n_listed; begun += batch) {
                    const int n = n_listed - begun < batch ? n_listed - begun : batch;
                    const auto difference = [&](int row, int d) {
                        return d < D ? static_cast<Sum>(rows_of_tile[row * chunk.row_stride + d]) -
                                           static_cast<Sum>(centre[d])
                                     : Sum(0);
                    };
                    for (int i = thread; i < n * width; i += n_threads) {
                        const int row = list[begun + i / width], d = i % width;
                        left[i] = difference(row, first_row + d);
                        if (!diagonal) right[i] = difference(row, first_column + d);
                    }
                    if (thread < n) weights[thread] = static_cast<Sum>(resp[list[begun + thread]]);
                    __syncthreads();
                    if (group < groups)
                        for (int row = group; row < n; row += groups) {
                            Sum a[S], b[S];
                            load<S>(left + row * width + own_row * S, a);
                            load<S>(right + row * width + own_column * S, b);
                            const Sum r = weights[row];
#pragma unroll
                            for (int i = 0; i < S; ++i) {
                                a[i] *= r;
#pragma unroll
                                for (int j = 0; j < S; ++j) acc[i][j] = fma(a[i], b[j], acc[i][j]);
                            }
                        }
                    __syncthreads();
                }
            }
            if (n_summed == 0) continue;
            Sum* of_groups = shared_memory<Sum>();
            if (group < groups)
#pragma unroll
                for (int i = 0; i < S; ++i)
#pragma unroll
                    for (int j = 0; j < S; ++j)
                        of_groups[(i * S + j) * n_threads + thread] = acc[i][j];
            __syncthreads();
            for (int i = thread; i < n_squares * squares; i += n_threads) {
                const int of = i % n_squares, place = i / n_squares;
                int row = 0, column = of;
                if (diagonal) {
                    while (column > row) column -= ++row;
                } else {
                    row = column / across;
                    column %= across;
                }
                const int d = first_row + row * S + place / S;
                const int e = first_column + column * S + place % S;
                if (d >= D || e > d) continue;
                double sum = 0;
                for (int g = 0; g < groups; ++g)
                    sum += static_cast<double>(of_groups[place * n_threads + g * n_squares + of]);
                second[d * (static_cast<std::int64_t>(d) + 1) / 2 + e] += sum;
            }
            __syncthreads();
        }
    }
}

template <class T, class Sum, int S>
void run(const Chunk<T>& chunk, const T* centres, int n_components, bool pooled,
         const PartialSums& partial, cudaStream_t stream) {
    constexpr int width = side * S;
    const int blocks = (chunk.n_features + width - 1) / width;
    const std::size_t staged = sizeof(Sum) * (2 * batch * width + batch) +
                               sizeof(int) * (tile_rows / 32) + sizeof(std::int16_t) * tile_rows;
    const std::size_t of_groups = sizeof(Sum) * S * S * n_threads;
    const dim3 grid(chunk.n_ranges * (pooled ? 1 : n_components), blocks * (blocks + 1) / 2);
    launch(second_moments<T, Sum, S>, grid, dim3(n_threads), std::max(staged, of_groups), stream,
           chunk, centres, n_components, pooled, partial);
}

template <class T, class Sum>
void choose(const Chunk<T>& chunk, const T* centres, int n_components, bool pooled,
            const PartialSums& partial, cudaStream_t stream) {
    constexpr int largest = sizeof(Sum) > 4 ? 4 : 8;
    const int D = chunk.n_features;
    const auto with = [&](auto sum) { sum(chunk, centres, n_components, pooled, partial, stream); };
    if (D <= 4)
        with(run<T, Sum, 1>);
    else if (D <= 8)
        with(run<T, Sum, 2>);
    else if (D <= 16)
        with(run<T, Sum, 4>);
    else
        with(run<T, Sum, largest>);
}

// Column of a row of the chunk, one thread each.
template <class T>
__global__ void __launch_bounds__(tile_rows)
    add_components(Chunk<T> chunk, int n_components, T* sums) {
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * tile_rows + threadIdx.x;
    T sum = 0;
    for (int k = 0; k < n_components; ++k) sum += chunk.joint[k * chunk.joint_stride + row];
    sums[row] = sum;
}

__global__ void merge(const double* sums, std::int64_t size, int n_partitions, double* merged) {
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= size) return;
    double sum = 0;
    for (int p = 0; p < n_partitions; ++p) sum += sums[p * size + i];
    merged[i] = sum;
}

}  // namespace

template <class T>
void add_second_moments(const Chunk<T>& chunk, const T* centres, int n_components, bool pooled,
                        bool extreme, const PartialSums& partial, cudaStream_t stream) {
    const auto sum = extreme ? choose<T, double> : choose<T, T>;
    sum(chunk, centres, n_components, pooled, partial, stream);
}

template <class T>
void sum_components(const Chunk<T>& chunk, int n_components, T* sums, cudaStream_t stream) {
    launch(add_components<T>, dim3(chunk.n_tiles), dim3(tile_rows), 0, stream, chunk, n_components,
           sums);
}

void merge_partitions(const double* sums, std::int64_t size, int n_partitions, double* merged,
                      cudaStream_t stream) {
    launch(merge, dim3(static_cast<unsigned>((size + 255) / 256)), dim3(256), 0, stream, sums, size,
           n_partitions, merged);
}

template void add_second_moments(const Chunk<float>&, const float*, int, bool, bool,
                                 const PartialSums&, cudaStream_t);
template void add_second_moments(const Chunk<double>&, const double*, int, bool, bool,
                                 const PartialSums&, cudaStream_t);
template void sum_components(const Chunk<float>&, int, float*, cudaStream_t);
template void sum_components(const Chunk<double>&, int, double*, cudaStream_t);

}  // namespace vbfast::cuda
