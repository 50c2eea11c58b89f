// Log-joints of components with a triangular factor, by tensor cores.
//
// In: rows of a chunk, and the stream of records of FactorSteps.
// Out: chunk.joint, one component after the other.
//
// Error: differences from a mean as in factor_form.cu; float32 products then are three of TF32, see
// tensor_cores.h: 2^-22 of a product's size, and sums are float32.
//
// Blocking: a warp has 32 rows and kept_columns columns of their products in registers. Rows lie in
// shared memory, features together and so far apart that the lanes of a fragment meet all banks. A
// step's fragments of the rows are centred, and split, on their way into registers, once for all
// columns of a block; those of the factor once for all rows of a warp. Records come some at a time
// into one of two buffers while the other one is worked on. Products of a step with columns that it
// has only zeros for are left out: the triangle costs what it has, to eight columns.
#include "cuda/factor_products.h"

#include <algorithm>

#include "cuda/mathematics.h"
#include "cuda/packs.h"
#include "cuda/tensor_cores.h"

namespace vbfast::cuda {

namespace {

constexpr int warp_rows = 32;
template <class T>
constexpr int chunk_steps = sizeof(T) == 4 ? 4 : 8;

__host__ __device__ constexpr int padded(int n_features) {
    return (n_features + 7) / 8 * 8;
}
// From a row to the next one in shared memory: four banks (of the size of T) more than whole
// eights.
__host__ __device__ constexpr int row_stride(int n_features) {
    return padded(n_features) + 4;
}

template <class T>
__device__ __forceinline__ void copy_steps(T* to, const T* from, std::int64_t n_steps) {
    constexpr int at_a_time = 16 / static_cast<int>(sizeof(T));
    const int count = static_cast<int>(n_steps) * step_length<T> / at_a_time;
    for (int i = threadIdx.x; i < count; i += blockDim.x)
        copy_async_16(to + i * at_a_time, from + i * at_a_time);
    commit_copies();
}

template <class T>
__global__ void __launch_bounds__(256)
    multiply_factors(Chunk<T> chunk, FactorSteps<T> model, int n_components,
                     int components_per_block) {
    using Cores = TensorCores<T>;
    constexpr int M = Cores::M, N = Cores::N, F = step_features<T>;
    static_assert(F == Cores::K, "a step is that of the instruction");
    constexpr int row_tiles = warp_rows / M, column_tiles = kept_columns<T> / N;
    constexpr int row_parts = 4 / row_tiles;  // rows of a lane in a tile
    constexpr int length = step_length<T>, ahead = chunk_steps<T>;
    T* buffers = shared_memory<T>();
    T* rows = buffers + 2 * ahead * length;
    const int D = chunk.n_features, stride = row_stride(D);
    const int block_rows = static_cast<int>(blockDim.x), parts = tile_rows / block_rows;
    const int tile = static_cast<int>(blockIdx.x) / parts;
    const int first_row = static_cast<int>(blockIdx.x) % parts * block_rows;
    const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
    const int own_row = static_cast<int>(threadIdx.x) / 32 * warp_rows;
    int k = static_cast<int>(blockIdx.y) * components_per_block;
    const int last =
        k + components_per_block < n_components ? k + components_per_block : n_components;
    const std::int64_t total = (last - k) * model.steps_per_component;
    const T* records = model.records + k * model.steps_per_component * length;
    copy_steps(buffers, records, total < ahead ? total : ahead);

    const int n_rows = chunk.tiles[tile].n_rows - first_row;
    const T* from = chunk.rows + (chunk.first_row(tile) + first_row) * chunk.row_stride;
    for (int i = threadIdx.x; i < block_rows * padded(D); i += blockDim.x) {
        const int row = i / padded(D), d = i % padded(D);
        rows[row * stride + d] = row < n_rows && d < D ? from[row * chunk.row_stride + d] : T(0);
    }

    T products[row_tiles][column_tiles][Cores::c_registers];
    T squares[row_tiles][row_parts];
    const auto clear = [&] {
#pragma unroll
        for (int m = 0; m < row_tiles; ++m)
#pragma unroll
            for (int n = 0; n < column_tiles; ++n)
#pragma unroll
                for (int i = 0; i < Cores::c_registers; ++i) products[m][n][i] = 0;
    };
    clear();
#pragma unroll
    for (int m = 0; m < row_tiles; ++m)
#pragma unroll
        for (int p = 0; p < row_parts; ++p) squares[m][p] = 0;

    int first_column = 0, feature = 0;  // of the block, of the step
    for (std::int64_t begun = 0; begun < total; begun += ahead) {
        const T* buffer = buffers + (begun / ahead & 1) * ahead * length;
        wait_for_copies();
        __syncthreads();
        const std::int64_t next = begun + ahead;
        if (next < total)
            copy_steps(buffers + (next / ahead & 1) * ahead * length, records + next * length,
                       total - next < ahead ? total - next : ahead);
        const int n_steps = static_cast<int>(total - begun < ahead ? total - begun : ahead);
        for (int s = 0; s < n_steps; ++s) {
            const T* record = buffer + s * length;
            typename Cores::A a[row_tiles];
#pragma unroll
            for (int m = 0; m < row_tiles; ++m)
#pragma unroll
                for (int i = 0; i < Cores::a_registers; ++i) {
                    const int column = Cores::a_column(t, i);
                    T d = rows[(own_row + m * M + Cores::a_row(g, i)) * stride + feature + column] -
                          record[column];
                    if (sizeof(T) < sizeof(double)) d = d - record[F + column];
                    a[m].set(i, d);
                }
            const T* factor = record + 2 * F + lane * Cores::b_registers;
#pragma unroll
            for (int n = 0; n < column_tiles; ++n) {
                const int column = first_column + n * N;
                if (column + N <= feature || column >= D) continue;  // zeros
                T numbers[Cores::b_registers];
                load<Cores::b_registers>(factor + n * 32 * Cores::b_registers, numbers);
                typename Cores::B b;
#pragma unroll
                for (int i = 0; i < Cores::b_registers; ++i) b.set(i, numbers[i]);
#pragma unroll
                for (int m = 0; m < row_tiles; ++m) Cores::multiply_add(products[m][n], a[m], b);
            }
            feature += F;
            if (feature < D && feature < first_column + kept_columns<T>) continue;
#pragma unroll
            for (int m = 0; m < row_tiles; ++m)
#pragma unroll
                for (int n = 0; n < column_tiles; ++n)
#pragma unroll
                    for (int i = 0; i < Cores::c_registers; ++i) {
                        T& square = squares[m][i * row_parts / Cores::c_registers];
                        square = fma(products[m][n][i], products[m][n][i], square);
                    }
            clear();
            feature = 0;
            first_column += kept_columns<T>;
            if (first_column < D) continue;
            // The four lanes of a group have different columns of the same rows; lane t then writes
            // the rows of its turn.
            T own = 0;
#pragma unroll
            for (int m = 0; m < row_tiles; ++m)
#pragma unroll
                for (int p = 0; p < row_parts; ++p) {
                    T sum = squares[m][p];
                    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
                    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
                    if (m * row_parts + p == t) own = sum;
                    squares[m][p] = 0;
                }
            chunk.joint[k * chunk.joint_stride + static_cast<std::int64_t>(tile) * tile_rows +
                        first_row + own_row + t * 8 + g] =
                log_joint_of(model.offset[k], T(0.5) * own);
            ++k;
            first_column = 0;
        }
    }
}

template <class T>
std::size_t shared_bytes(int warps, int n_features) {
    return sizeof(T) * (2 * static_cast<std::size_t>(chunk_steps<T>) * step_length<T> +
                        static_cast<std::size_t>(warps * warp_rows) * row_stride(n_features));
}

}  // namespace

template <class T>
ProductPlan plan_products(int n_features, std::size_t limit) {
    // Two blocks at a time on a multiprocessor, if that can be.
    for (const std::size_t blocks : {2, 1})
        for (const int warps : {8, 4}) {
            const std::size_t bytes = shared_bytes<T>(warps, n_features);
            if (blocks * bytes <= limit) return {warps, bytes};
        }
    return {0, 0};
}

template <class T>
void product_log_joint(const Chunk<T>& chunk, const FactorSteps<T>& model, int n_components,
                       const ProductPlan& plan, int multiprocessors, cudaStream_t stream) {
    const int blocks = chunk.n_tiles * (tile_rows / (plan.warps * warp_rows));
    const int groups = std::clamp(2 * multiprocessors / blocks, 1, std::min(n_components, 65535));
    const int each = (n_components + groups - 1) / groups;
    launch(multiply_factors<T>, dim3(blocks, (n_components + each - 1) / each),
           dim3(plan.warps * warp_rows), plan.shared_bytes, stream, chunk, model, n_components,
           each);
}

template ProductPlan plan_products<float>(int, std::size_t);
template ProductPlan plan_products<double>(int, std::size_t);
template void product_log_joint(const Chunk<float>&, const FactorSteps<float>&, int,
                                const ProductPlan&, int, cudaStream_t);
template void product_log_joint(const Chunk<double>&, const FactorSteps<double>&, int,
                                const ProductPlan&, int, cudaStream_t);

}  // namespace vbfast::cuda
