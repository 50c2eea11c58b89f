// Triangular factors in the layouts of the kernels.
//
// One thread a line, or a number of a record. Numbers beyond T become its largest: infinity times a
// difference of zero would be NaN.
#include "cuda/factor_packing.h"

#include "cuda/factor_products.h"
#include "cuda/mathematics.h"
#include "cuda/tensor_cores.h"

namespace vbfast::cuda {

namespace {

constexpr int n_threads = 256;

template <class T>
__device__ T low_of(const Factors<T>& factors, std::int64_t place) {
    if (!factors.means) return T(0);
    return as_finite<T>(factors.means[place] - static_cast<double>(factors.points[place]));
}

template <class T>
__global__ void write_lines(Factors<T> factors, FactorLines<T> layout, int line, T* out) {
    const std::int64_t own = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (own >= factors.n_components * layout.lines_per_component) return;
    const std::int64_t k = own / layout.lines_per_component;
    int i = static_cast<int>(own % layout.lines_per_component), first = 0;
    const int D = factors.n_features, J = layout.columns;
    for (; i >= layout.length(first, D); first += J) i -= layout.length(first, D);
    out += own * line;
    for (int j = 0; j < line; ++j) out[j] = T(0);
    if (i >= D) return;
    out[0] = factors.points[k * D + i];
    out[1] = low_of(factors, k * D + i);
    const double* P =
        factors.matrices + (factors.shared ? 0 : k * D * D) + static_cast<std::int64_t>(i) * D;
    for (int j = i > first ? i : first; j < first + J && j < D; ++j)
        out[line - J + j - first] = as_finite<T>(P[j]);
}

template <class T>
__global__ void write_steps(Factors<T> factors, std::int64_t steps_per_component, T* out) {
    using Cores = TensorCores<T>;
    constexpr int F = step_features<T>, J = kept_columns<T>, length = step_length<T>;
    const std::int64_t own = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (own >= factors.n_components * steps_per_component * length) return;
    const int place = static_cast<int>(own % length), D = factors.n_features;
    const std::int64_t k = own / length / steps_per_component;
    int step = static_cast<int>(own / length % steps_per_component), first = 0;
    const auto steps_of = [&](int column) {
        return ((column + J < D ? column + J : D) + F - 1) / F;
    };
    for (; step >= steps_of(first); first += J) step -= steps_of(first);
    T value = 0;
    if (place < 2 * F) {
        const int i = step * F + place % F;
        if (i < D) {
            const std::int64_t of = k * D + i;
            value = place < F ? factors.points[of] : low_of(factors, of);
        }
    } else {
        const int number = place - 2 * F, lane = number / Cores::b_registers % 32;
        const int i = step * F + Cores::b_row(lane % 4, number % Cores::b_registers);
        const int j = first + number / (32 * Cores::b_registers) * Cores::N + lane / 4;
        if (i <= j && j < D)
            value = as_finite<T>(factors.matrices[(factors.shared ? 0 : k * D * D) +
                                                  static_cast<std::int64_t>(i) * D + j]);
    }
    out[own] = value;
}

}  // namespace

template <class T>
void pack_lines(const Factors<T>& factors, const FactorLines<T>& layout, T* out,
                cudaStream_t stream) {
    const std::int64_t n = factors.n_components * layout.lines_per_component;
    launch(write_lines<T>, dim3(static_cast<unsigned>((n + n_threads - 1) / n_threads)),
           dim3(n_threads), 0, stream, factors, layout, layout.line_length(), out);
}

template <class T>
void pack_steps(const Factors<T>& factors, std::int64_t steps_per_component, T* out,
                cudaStream_t stream) {
    const std::int64_t n = factors.n_components * steps_per_component * step_length<T>;
    launch(write_steps<T>, dim3(static_cast<unsigned>((n + n_threads - 1) / n_threads)),
           dim3(n_threads), 0, stream, factors, steps_per_component, out);
}

template void pack_lines(const Factors<float>&, const FactorLines<float>&, float*, cudaStream_t);
template void pack_lines(const Factors<double>&, const FactorLines<double>&, double*, cudaStream_t);
template void pack_steps(const Factors<float>&, std::int64_t, float*, cudaStream_t);
template void pack_steps(const Factors<double>&, std::int64_t, double*, cudaStream_t);

}  // namespace vbfast::cuda
