// Log-joints of components with a triangular factor.
//
// In: rows of a chunk, and the stream of lines of FactorLines.
// Out: chunk.joint, one component after the other; or the whitened rows.
//
// Error: differences from a mean have the digits of their own size (Sterbenz 1974), wherever the
// mean lies; products are then summed one feature after the other, about D epsilon |d| |P| in a
// column, and D epsilon of the sum of squares.
//
// Blocking: a thread has `R` rows of its own, of which it keeps `J` columns in registers, so that
// nothing is summed across threads and the zeros of a triangle cost only what is within a block of
// columns. Rows lie in shared memory, features apart; each thread reads its own there. Lines of the
// factor, which all threads read at once, come `chunk_lines` at a time into one of two buffers
// while the other one is worked on. For a line, that is R (1 or 2) subtractions of each half of the
// centre and R J multiply-adds for 2 + J numbers that a whole warp reads at once. Components go to
// different blocks of threads (grid.y) where tiles alone do not fill the device.
#include "cuda/factor_form.h"

#include <algorithm>

#include "cuda/mathematics.h"
#include "cuda/packs.h"

namespace vbfast::cuda {

namespace {

constexpr int n_threads = 128;
constexpr int chunk_lines = 32;

// From one feature of the rows in shared memory to the next: not a multiple of the banks.
__host__ __device__ constexpr int feature_stride(int rows) {
    return n_threads * rows + 2;
}

template <class T, int J>
__device__ __forceinline__ void copy_lines(T* to, const T* from, std::int64_t n_lines) {
    constexpr int at_a_time = 16 / static_cast<int>(sizeof(T));
    const int count = static_cast<int>(n_lines) * line_length<T, J> / at_a_time;
    for (int i = threadIdx.x; i < count; i += n_threads)
        copy_async_16(to + i * at_a_time, from + i * at_a_time);
    commit_copies();
}

// Features `first` to `first + n` - 1 of the rows of a block of threads, zero beyond the data.
template <class T, int R>
__device__ __forceinline__ void stage_rows(const Chunk<T>& chunk, int tile, int first_row,
                                           int first, int n, T* staged) {
    constexpr int rows = n_threads * R, stride = feature_stride(R);
    const int n_rows = chunk.tiles[tile].n_rows;
    const T* rows_of_tile = chunk.rows + chunk.first_row(tile) * chunk.row_stride;
    for (int i = threadIdx.x; i < rows * n; i += n_threads) {
        const int row = i / n, d = i % n;
        const bool there = first_row + row < n_rows && first + d < chunk.n_features;
        staged[d * stride + row] =
            there ? rows_of_tile[(first_row + row) * chunk.row_stride + first + d] : T(0);
    }
}

template <class T, int J, int R, bool whole, bool whitens>
__global__ void __launch_bounds__(n_threads)
    apply_factor(Chunk<T> chunk, FactorLines<T> model, int n_components, int components_per_block,
                 T* out) {
    constexpr int W = line_length<T, J>, first_column = W - J, stride = feature_stride(R);
    constexpr int parts = tile_rows / (n_threads * R);
    T* buffers = shared_memory<T>();
    T* staged = buffers + 2 * chunk_lines * W;
    const int D = chunk.n_features;
    const int tile_number = static_cast<int>(blockIdx.x) / parts;
    const int first_row = static_cast<int>(blockIdx.x) % parts * n_threads * R;
    const int own_row = static_cast<int>(threadIdx.x) * R;
    const std::int64_t chunk_row =
        static_cast<std::int64_t>(tile_number) * tile_rows + first_row + own_row;
    int k = static_cast<int>(blockIdx.y) * components_per_block;
    const int last =
        k + components_per_block < n_components ? k + components_per_block : n_components;
    const std::int64_t total = (last - k) * model.lines_per_component;
    const T* lines = model.lines + k * model.lines_per_component * W;

    const auto length_of = [&](int block) { return model.length(block * J, D); };

    if (whole) stage_rows<T, R>(chunk, tile_number, first_row, 0, D, staged);
    copy_lines<T, J>(buffers, lines, total < chunk_lines ? total : chunk_lines);

    T y[R][J], squares[R];
#pragma unroll
    for (int r = 0; r < R; ++r) {
        squares[r] = 0;
#pragma unroll
        for (int j = 0; j < J; ++j) y[r][j] = 0;
    }
    int block = 0, i = 0, length = length_of(0);
    for (std::int64_t begun = 0; begun < total; begun += chunk_lines) {
        const T* buffer = buffers + (begun / chunk_lines & 1) * chunk_lines * W;
        wait_for_copies();
        __syncthreads();
        const std::int64_t ahead = begun + chunk_lines;
        if (ahead < total)
            copy_lines<T, J>(buffers + (ahead / chunk_lines & 1) * chunk_lines * W,
                             lines + ahead * W,
                             total - ahead < chunk_lines ? total - ahead : chunk_lines);
        if (!whole) {
            stage_rows<T, R>(chunk, tile_number, first_row, i, chunk_lines, staged);
            __syncthreads();
        }
        const int n = static_cast<int>(total - begun < chunk_lines ? total - begun : chunk_lines);
        for (int l = 0; l < n;) {
            const int end = l + (length - i) < n ? l + (length - i) : n;
            const T* x = staged + (whole ? i : l) * stride + own_row;
            i += end - l;
#pragma unroll 2
            for (; l < end; ++l, x += stride) {
                T line[W], d[R];
                load<W>(buffer + l * W, line);
                load<R>(x, d);
#pragma unroll
                for (int r = 0; r < R; ++r) {
                    d[r] = d[r] - line[0];
                    if (sizeof(T) < sizeof(double)) d[r] = d[r] - line[1];
                }
#pragma unroll
                for (int j = 0; j < J; ++j)
#pragma unroll
                    for (int r = 0; r < R; ++r)
                        y[r][j] = fma(d[r], line[first_column + j], y[r][j]);
            }
            if (i < length) break;
#pragma unroll
            for (int r = 0; r < R; ++r) {
#pragma unroll
                for (int j = 0; j < J; ++j) {
                    if (whitens) {
                        const int column = block * J + j;
                        if (column < D) out[(chunk_row + r) * D + column] = y[r][j];
                    } else {
                        squares[r] = fma(y[r][j], y[r][j], squares[r]);
                    }
                    y[r][j] = 0;
                }
            }
            i = 0;
            ++block;
            if (block * J >= D) {
                if (!whitens) {
                    T joint[R];
#pragma unroll
                    for (int r = 0; r < R; ++r) {
                        joint[r] = log_joint_of(model.offset[k], T(0.5) * squares[r]);
                        squares[r] = 0;
                    }
                    store<R>(joint, chunk.joint + k * chunk.joint_stride + chunk_row);
                }
                ++k;
                block = 0;
            }
            length = length_of(block);
        }
    }
}

template <class T, int J, int R, bool whole, bool whitens>
void launch_factor(const Chunk<T>& chunk, const FactorLines<T>& model, int n_components,
                   const FactorPlan& plan, int multiprocessors, T* out, cudaStream_t stream) {
    const int blocks = chunk.n_tiles * (tile_rows / (n_threads * R));
    // Two blocks a multiprocessor, of as many components each as that leaves.
    const int groups = std::clamp(2 * multiprocessors / blocks, 1, std::min(n_components, 65535));
    const int each = (n_components + groups - 1) / groups;
    launch(apply_factor<T, J, R, whole, whitens>, dim3(blocks, (n_components + each - 1) / each),
           dim3(n_threads), plan.shared_bytes, stream, chunk, model, n_components, each, out);
}

template <class T, bool whitens>
void choose_factor(const Chunk<T>& chunk, const FactorLines<T>& model, int n_components,
                   const FactorPlan& plan, int multiprocessors, T* out, cudaStream_t stream) {
    constexpr int most = 64 / sizeof(T);  // columns of a block, of two rows
    const auto with = [&](auto run) {
        run(chunk, model, n_components, plan, multiprocessors, out, stream);
    };
    if (plan.line_multiple > 1)
        with(launch_factor<T, most, 2, false, whitens>);
    else if (plan.rows == 1)
        with(launch_factor<T, 2 * most, 1, true, whitens>);
    else if (plan.columns == 2)
        with(launch_factor<T, 2, 2, true, whitens>);
    else if (plan.columns == 4)
        with(launch_factor<T, 4, 2, true, whitens>);
    else if (plan.columns == 8)
        with(launch_factor<T, 8, 2, true, whitens>);
    else
        with(launch_factor<T, most, 2, true, whitens>);
}

}  // namespace

template <class T>
FactorPlan plan_factor(int n_features, std::size_t limit) {
    constexpr int most = 64 / sizeof(T);
    const auto bytes = [](int columns, int rows, int features) {
        const int line = columns == 2 ? 4 : columns + 16 / static_cast<int>(sizeof(T));
        return sizeof(T) * (static_cast<std::size_t>(2 * chunk_lines * line) +
                            static_cast<std::size_t>(features) * feature_stride(rows));
    };
    int columns = 2;
    while (columns < most && columns < n_features) columns *= 2;
    // Two blocks at a time on a multiprocessor, or one of fewer rows, or rows a part at a time.
    if (2 * bytes(columns, 2, n_features) <= limit)
        return {columns, 2, 1, bytes(columns, 2, n_features)};
    if (bytes(2 * most, 1, n_features) <= limit)
        return {2 * most, 1, 1, bytes(2 * most, 1, n_features)};
    return {most, 2, chunk_lines, bytes(most, 2, chunk_lines)};
}

template <class T>
void factor_log_joint(const Chunk<T>& chunk, const FactorLines<T>& model, int n_components,
                      const FactorPlan& plan, int multiprocessors, cudaStream_t stream) {
    choose_factor<T, false>(chunk, model, n_components, plan, multiprocessors, nullptr, stream);
}

template <class T>
void whiten(const Chunk<T>& chunk, const FactorLines<T>& model, const FactorPlan& plan, T* out,
            cudaStream_t stream) {
    choose_factor<T, true>(chunk, model, 1, plan, 1, out, stream);
}

template FactorPlan plan_factor<float>(int, std::size_t);
template FactorPlan plan_factor<double>(int, std::size_t);
template void factor_log_joint(const Chunk<float>&, const FactorLines<float>&, int,
                               const FactorPlan&, int, cudaStream_t);
template void factor_log_joint(const Chunk<double>&, const FactorLines<double>&, int,
                               const FactorPlan&, int, cudaStream_t);
template void whiten(const Chunk<float>&, const FactorLines<float>&, const FactorPlan&, float*,
                     cudaStream_t);
template void whiten(const Chunk<double>&, const FactorLines<double>&, const FactorPlan&, double*,
                     cudaStream_t);

}  // namespace vbfast::cuda
