// sum r, sum r d and sum r d^2 by feature.
//
// In: weighted responsibilities (K, rows of the chunk), rows, centres rounded to T.
// Out: added to the partial sums of the partitions.
//
// Error: differences have the digits of their own size. What a centre's rounding left out is put
// right in float64 once the sums are merged. Sums are T over the rows of a tile, and float64 over
// tiles; those of a tile are split over groups of threads, whose sums are float64 and added in
// their order.
//
// Blocking: a thread has `C` components by `F` features in registers, and reads C + F numbers a row
// for 4 C F operations. A block of threads covers up to 32 components and 32 features; where there
// are fewer, groups of threads take turns with the rows. Rows come `batch` at a time into shared
// memory.
#include <algorithm>

#include "cuda/mathematics.h"
#include "cuda/packs.h"
#include "cuda/summary.h"

namespace vbfast::cuda {

namespace {

constexpr int n_threads = 128;
constexpr int C = 4, F = 4;

// How the threads of a block are laid out.
struct Layout {
    int components, features, groups;  // threads in each direction
    int batch;                         // rows in shared memory
};

// S: the type of sums within a group of tiles.
template <class T, class S, bool diagonal>
__global__ void __launch_bounds__(n_threads)
    first_moments(Chunk<T> chunk, const T* all_centres, int n_components, Layout layout,
                  PartialSums partial) {
    const int width = layout.features * F, height = layout.components * C;
    S* rows = shared_memory<S>();
    S* resp = rows + layout.batch * width;
    const int D = chunk.n_features;
    const int thread = static_cast<int>(threadIdx.x);
    const int tx = thread % layout.features, ty = thread / layout.features % layout.components;
    const int group = thread / (layout.features * layout.components);
    const Range range = chunk.ranges[blockIdx.x];
    const int first_component = static_cast<int>(blockIdx.y) * height;
    const int first_feature = static_cast<int>(blockIdx.z) * width;
    const int own_component = first_component + ty * C, own_feature = first_feature + tx * F;
    double* sums = partial.sums + range.partition * partial.stride;

    S centres[C][F];
#pragma unroll
    for (int c = 0; c < C; ++c)
#pragma unroll
        for (int f = 0; f < F; ++f) {
            const bool there = own_component + c < n_components && own_feature + f < D;
            centres[c][f] =
                there ? static_cast<S>(
                            all_centres[(own_component + c) * static_cast<std::int64_t>(D) +
                                        own_feature + f])
                      : S(0);
        }
    for (int first_tile = range.first_tile; first_tile < range.last_tile;
         first_tile += group_tiles) {
        S weight[C], first[C][F], second[C][F];
#pragma unroll
        for (int c = 0; c < C; ++c) {
            weight[c] = 0;
#pragma unroll
            for (int f = 0; f < F; ++f) first[c][f] = second[c][f] = 0;
        }
        const int last_tile =
            first_tile + group_tiles < range.last_tile ? first_tile + group_tiles : range.last_tile;
        for (int t = first_tile; t < last_tile; ++t) {
            const int n_rows = chunk.tiles[t].n_rows;
            const T* rows_of_tile = chunk.rows + chunk.first_row(t) * chunk.row_stride;
            for (int begun = 0; begun < n_rows; begun += layout.batch) {
                const int n = n_rows - begun < layout.batch ? n_rows - begun : layout.batch;
                __syncthreads();
                for (int i = thread; i < n * width; i += n_threads) {
                    const int row = i / width, d = first_feature + i % width;
                    rows[i] =
                        d < D ? static_cast<S>(rows_of_tile[(begun + row) * chunk.row_stride + d])
                              : S(0);
                }
                for (int i = thread; i < n * height; i += n_threads) {
                    const int row = i % n, c = i / n, k = first_component + c;
                    resp[row * height + c] =
                        k < n_components
                            ? static_cast<S>(chunk.joint[k * chunk.joint_stride +
                                                         static_cast<std::int64_t>(t) * tile_rows +
                                                         begun + row])
                            : S(0);
                }
                __syncthreads();
                for (int row = group; row < n; row += layout.groups) {
                    S r[C], x[F];
                    load<C>(resp + row * height + ty * C, r);
                    // Most rows are none of a component's where it is one of many.
                    if (r[0] == S(0) && r[1] == S(0) && r[2] == S(0) && r[3] == S(0)) continue;
                    load<F>(rows + row * width + tx * F, x);
#pragma unroll
                    for (int c = 0; c < C; ++c) {
                        weight[c] += r[c];
#pragma unroll
                        for (int f = 0; f < F; ++f) {
                            const S d = x[f] - centres[c][f];
                            const S rd = r[c] * d;
                            first[c][f] += rd;
                            if (diagonal) second[c][f] = fma(rd, d, second[c][f]);
                        }
                    }
                }
            }
        }
        // The sums of the groups, component by component of a thread.
        S* of_groups = shared_memory<S>();
        constexpr int n_sums = 1 + (diagonal ? 2 : 1) * F;
#pragma unroll
        for (int c = 0; c < C; ++c) {
            __syncthreads();
            S* own = of_groups + thread * n_sums;
            own[0] = weight[c];
#pragma unroll
            for (int f = 0; f < F; ++f) {
                own[1 + f] = first[c][f];
                if (diagonal) own[1 + F + f] = second[c][f];
            }
            __syncthreads();
            const int in_group = layout.features * layout.components;
            for (int i = thread; i < in_group * n_sums; i += n_threads) {
                const int of = i / n_sums, what = i % n_sums;
                const int k = first_component + of / layout.features * C + c;
                const int d = first_feature + of % layout.features * F + (what + F - 1) % F;
                if (k >= n_components || (what > 0 && d >= D)) continue;
                if (what == 0 && (of % layout.features > 0 || blockIdx.z > 0)) continue;
                double sum = 0;
                for (int g = 0; g < layout.groups; ++g)
                    sum += static_cast<double>(of_groups[(g * in_group + of) * n_sums + what]);
                const std::int64_t place = k * static_cast<std::int64_t>(D) + d;
                if (what == 0)
                    sums[partial.weight + k] += sum;
                else if (what <= F)
                    sums[partial.first + place] += sum;
                else
                    sums[partial.second + place] += sum;
            }
        }
    }
}

int threads_for(int n, int each, int most) {
    int threads = 1;
    while (threads < most && threads * each < n) threads *= 2;
    return threads;
}

template <class T, class S>
void run(const Chunk<T>& chunk, const T* centres, int n_components, bool diagonal,
         const PartialSums& partial, cudaStream_t stream) {
    Layout layout;
    layout.components = threads_for(n_components, C, 8);
    layout.features = threads_for(chunk.n_features, F, 8);
    layout.groups = n_threads / (layout.components * layout.features);
    layout.batch = std::min(std::max(32, layout.groups), tile_rows);
    const int width = layout.features * F, height = layout.components * C;
    const std::size_t staged =
        sizeof(S) * static_cast<std::size_t>(layout.batch * (width + height));
    const std::size_t of_groups = sizeof(S) * n_threads * (1 + 2 * F);
    const dim3 grid(chunk.n_ranges, (n_components + height - 1) / height,
                    (chunk.n_features + width - 1) / width);
    const auto kernel = diagonal ? first_moments<T, S, true> : first_moments<T, S, false>;
    launch(kernel, grid, dim3(n_threads), std::max(staged, of_groups), stream, chunk, centres,
           n_components, layout, partial);
}

}  // namespace

template <class T>
void add_first_moments(const Chunk<T>& chunk, const T* centres, int n_components, bool diagonal,
                       bool extreme, const PartialSums& partial, cudaStream_t stream) {
    const auto sum = extreme ? run<T, double> : run<T, T>;
    sum(chunk, centres, n_components, diagonal, partial, stream);
}

template void add_first_moments(const Chunk<float>&, const float*, int, bool, bool,
                                const PartialSums&, cudaStream_t);
template void add_first_moments(const Chunk<double>&, const double*, int, bool, bool,
                                const PartialSums&, cudaStream_t);

}  // namespace vbfast::cuda
