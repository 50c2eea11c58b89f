// Log-joints of components that need no triangular factor.
//
// In: rows of a chunk, features together; parameters (K, D).
// Out: chunk.joint, one component after the other.
//
// Error: as in factor_form.cu; a centre's low half costs nothing where there are scales, as
// ((x - centre) - low) scale is a multiply-add with -low scale. Sums over features are taken one
// after the other, about D epsilon of the sum of squares, or of sum_d |x_d theta_d|. What
// overflowed on the way, though the log-joint does not, is evaluated again by its thread alone.
//
// Blocking: a thread has `R` rows and `C` components in registers, of which it reads R + C numbers
// (R + 2 C where there are scales) a feature: 16 threads side by side have 16 C components, and 16
// below each other 16 R rows. Both come `features` at a time into shared memory. C is one or two
// where there are few components.
#include "cuda/distance_forms.h"

#include "cuda/mathematics.h"
#include "cuda/packs.h"

namespace vbfast::cuda {

namespace {

constexpr int side = 16;  // of the square of threads
constexpr int features = 16;

template <class T>
constexpr int rows_of_thread = 32 / static_cast<int>(sizeof(T));

// What was not finite, of a row and a component alone.
template <class T, Distance kind>
__device__ T log_joint_alone(const Chunk<T>& chunk, const DistanceModel<T>& model, const T* x,
                             int k) {
    const std::int64_t D = chunk.n_features;
    const T* centre = model.centres + k * D;
    const T offset = model.offset[k];
    if (kind == Distance::linear) {
        if (!is_finite(offset)) return offset;
        const ScaledNumber product = scaled_product(x, centre, 1, chunk.n_features);
        return static_cast<T>(static_cast<double>(offset) +
                              std::ldexp(product.mantissa, product.exponent));
    }
    if (kind == Distance::scaled) return -infinite<T>();
    // Differences are scaled before they are squared.
    const T scale = std::sqrt(model.half_precision[k]);
    T sum = 0;
    for (int d = 0; d < D; ++d) {
        const T t = (x[d] - centre[d]) * scale;
        sum = fma(t, t, sum);
    }
    return log_joint_of(offset, sum);
}

template <class T, Distance kind, int C>
__global__ void __launch_bounds__(side* side, 1)
    distances(Chunk<T> chunk, DistanceModel<T> model, int n_components) {
    constexpr int R = rows_of_thread<T>, rows = side * R, components = side * C;
    constexpr int parts = tile_rows / rows;
    constexpr bool scaled = kind == Distance::scaled;
    // Rows are written feature by feature, hence the odd stride in units of what is read together.
    constexpr int row_stride = rows + 16 / static_cast<int>(sizeof(T));
    T* x = shared_memory<T>();
    T* centres = x + features * row_stride;
    T* scales = centres + features * components;
    T* intercepts = scales + features * components;
    const int D = chunk.n_features;
    const int tile_number = static_cast<int>(blockIdx.x) / parts;
    const int n_rows = chunk.tiles[tile_number].n_rows;
    const T* rows_of_tile = chunk.rows + chunk.first_row(tile_number) * chunk.row_stride;
    const int first_row = static_cast<int>(blockIdx.x) % parts * rows;
    const int first_component = static_cast<int>(blockIdx.y) * components;
    const int thread = static_cast<int>(threadIdx.x);
    const int own_component = thread % side * C, own_row = thread / side * R;

    T acc[C][R];
#pragma unroll
    for (int c = 0; c < C; ++c)
#pragma unroll
        for (int r = 0; r < R; ++r) acc[c][r] = 0;
    for (int first = 0; first < D; first += features) {
        __syncthreads();
        for (int i = thread; i < rows * features; i += side * side) {
            const int row = i / features, d = i % features;
            const bool there = first_row + row < n_rows && first + d < D;
            x[d * row_stride + row] =
                there ? rows_of_tile[(first_row + row) * chunk.row_stride + first + d] : T(0);
        }
        for (int i = thread; i < components * features; i += side * side) {
            const int c = i / features, d = i % features;
            const bool there = first_component + c < n_components && first + d < D;
            const std::int64_t place =
                (first_component + c) * static_cast<std::int64_t>(D) + first + d;
            centres[d * components + c] = there ? model.centres[place] : T(0);
            if (scaled) {
                scales[d * components + c] = there ? model.scales[place] : T(0);
                intercepts[d * components + c] = there ? model.intercepts[place] : T(0);
            }
        }
        __syncthreads();
        const int n = D - first < features ? D - first : features;
#pragma unroll 2
        for (int d = 0; d < n; ++d) {
            T row[R], centre[C], scale[C], intercept[C];
            load<R>(x + d * row_stride + own_row, row);
            load<C>(centres + d * components + own_component, centre);
            if (scaled) {
                load<C>(scales + d * components + own_component, scale);
                load<C>(intercepts + d * components + own_component, intercept);
            }
#pragma unroll
            for (int c = 0; c < C; ++c)
#pragma unroll
                for (int r = 0; r < R; ++r) {
                    if (kind == Distance::linear) {
                        acc[c][r] = fma(row[r], centre[c], acc[c][r]);
                    } else {
                        T t = row[r] - centre[c];
                        if (scaled) t = fma(t, scale[c], intercept[c]);
                        acc[c][r] = fma(t, t, acc[c][r]);
                    }
                }
        }
    }
#pragma unroll
    for (int c = 0; c < C; ++c) {
        const int k = first_component + own_component + c;
        if (k >= n_components) break;
        T joint[R];
#pragma unroll
        for (int r = 0; r < R; ++r) {
            bool settled;
            if (kind == Distance::linear) {
                joint[r] = model.offset[k] + acc[c][r];
                settled = is_finite(joint[r]);
            } else {
                const T half = scaled ? T(0.5) : model.half_precision[k];
                joint[r] = log_joint_of(model.offset[k], half * acc[c][r]);
                settled = acc[c][r] < infinite<T>();
            }
            const int row = first_row + own_row + r;
            if (!settled && row < n_rows)
                joint[r] = log_joint_alone<T, kind>(chunk, model,
                                                    rows_of_tile + row * chunk.row_stride, k);
        }
        store<R>(joint, chunk.joint + k * chunk.joint_stride +
                            static_cast<std::int64_t>(tile_number) * tile_rows + first_row +
                            own_row);
    }
}

template <class T, Distance kind, int C>
void launch_distances(const Chunk<T>& chunk, const DistanceModel<T>& model, int n_components,
                      cudaStream_t stream) {
    constexpr int rows = side * rows_of_thread<T>, components = side * C;
    const std::size_t bytes =
        sizeof(T) * features *
        (rows + 16 / sizeof(T) + components * (kind == Distance::scaled ? 3 : 1));
    const dim3 grid(chunk.n_tiles * (tile_rows / rows),
                    (n_components + components - 1) / components);
    launch(distances<T, kind, C>, grid, dim3(side * side), bytes, stream, chunk, model,
           n_components);
}

template <class T, Distance kind>
void choose_distances(const Chunk<T>& chunk, const DistanceModel<T>& model, int n_components,
                      cudaStream_t stream) {
    if (n_components <= side)
        launch_distances<T, kind, 1>(chunk, model, n_components, stream);
    else if (n_components <= 2 * side)
        launch_distances<T, kind, 2>(chunk, model, n_components, stream);
    else
        launch_distances<T, kind, 4>(chunk, model, n_components, stream);
}

}  // namespace

template <class T>
void distance_log_joint(const Chunk<T>& chunk, Distance kind, const DistanceModel<T>& model,
                        int n_components, cudaStream_t stream) {
    switch (kind) {
        case Distance::scaled:
            return choose_distances<T, Distance::scaled>(chunk, model, n_components, stream);
        case Distance::plain:
            return choose_distances<T, Distance::plain>(chunk, model, n_components, stream);
        case Distance::linear:
            return choose_distances<T, Distance::linear>(chunk, model, n_components, stream);
    }
}

template void distance_log_joint(const Chunk<float>&, Distance, const DistanceModel<float>&, int,
                                 cudaStream_t);
template void distance_log_joint(const Chunk<double>&, Distance, const DistanceModel<double>&, int,
                                 cudaStream_t);

}  // namespace vbfast::cuda
