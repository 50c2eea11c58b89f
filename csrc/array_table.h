// What one instruction-set level offers to the array functions. As in kernel_table.h, plain data
// and function pointers only.
//
// A slice is the elements that are reduced together. Its state is a column of doubles, one for each
// reference (a running maximum of logits, or minimum of probabilities, -inf or +inf to start with)
// and then one for each sum. States of several slices lie in planes: entry k of slice i is
// state[k * plane + i], where plane is a multiple of 16, so that lanes may run over the end of the
// last slice.
#pragma once

#include <cstdint>

namespace vbfast {

enum class Reduction : int {
    sum_exp,         // (a): sums below and at the maximum
    scaled_sum_exp,  // (a, b): the same of b exp(a), sum b^2
    logits_entropy,  // (logits): sum e, sum e log e, sum e below the maximum
    probs_entropy,   // (probs): sum p, sum p log p
    // (q, p): sum q, sum q log q, sum q log p, sum p, of either kind; of logits q below the maximum
    logits_logits,
    logits_probs,
    probs_logits,
    probs_probs,
    count
};

enum class Mapping : int {
    softmax,             // (x) -> exp(x - p0) p1
    log_softmax,         // (x) -> (x - p0) - p1
    posterior_gradient,  // (log-joint) -> 0, exp(x - p0) p1
    gradient,            // (q logits, log-joint) -> the two gradients of the bound
    probs_gradient,      // (q, log-joint) -> the same
    count
};

// What finish() writes for a slice. A sum of exponentials has its value, sign and the logarithm of
// the sum about the maximum; the others have the terms of the bound.
enum Result : int {
    result_log_evidence,
    result_entropy,
    result_expected,
    result_kl,
    result_elbo,
    result_count,
    result_sign = result_entropy,
    result_log_sum = result_expected
};

constexpr int max_states = 7;
constexpr int max_parameters = 4;
constexpr std::int64_t row_chunk = 2048;    // the longest row of one call, in elements
constexpr std::int64_t column_width = 256;  // the most slices of one call, a multiple of 16
constexpr std::int64_t column_chunk = 64;   // the most elements of each, summed in their own type
// The most elements of each of which chunks are added to a state one after another: of float64,
// whose sums are no wider than the elements, not so many.
template <class T>
constexpr std::int64_t column_part = sizeof(T) == 8 ? 16 * column_chunk : 1024 * column_chunk;

// `ahead`: so many elements after those of a call, in each input, lies what is probably read next,
// and is asked for while they are summed, when memory would rest otherwise. 0 asks for nothing new.
template <class T>
struct Reducer {
    int inputs;
    int references;
    int sums;
    bool logits[2];  // kind of each input
    // Writes the state of one contiguous slice of n <= row_chunk elements.
    void (*row)(const T* x, const T* y, std::int64_t n, std::int64_t ahead, double* state,
                std::int64_t plane);
    // Adds n_rows <= column_chunk elements of width <= column_width slices side by side: x[r]
    // points at element r of all of them.
    void (*columns)(const T* const* x, const T* const* y, std::int64_t n_rows, std::int64_t width,
                    std::int64_t ahead, double* state, std::int64_t plane);
    // Adds other states, of other elements of the same slices.
    void (*merge)(double* state, const double* other, std::int64_t plane, std::int64_t width);
    void (*finish)(const double* state, std::int64_t plane, std::int64_t width, double* results);
};

template <class T>
struct Mapper {
    // Parameters of a slice are numbers, of columns planes. `stream` writes past the caches.
    void (*row)(const T* x, const T* y, std::int64_t n, const T* parameters, T* out0, T* out1,
                bool stream);
    void (*columns)(const T* const* x, const T* const* y, std::int64_t n_rows, std::int64_t width,
                    const T* parameters, std::int64_t plane, T* const* out0, T* const* out1,
                    bool stream);
    // Reduces and maps a slice of n <= row_chunk elements with one exponential an element; null
    // where that saves none.
    void (*fused)(const T* x, const T* y, std::int64_t n, std::int64_t ahead, double weight,
                  T* out0, T* out1, bool stream, double* state, std::int64_t plane);
    // The same of columns, in two calls, which need to see all of a slice between them; null
    // likewise. `keep` adds to the state as Reducer::columns does, and writes exponentials about
    // the references, of which it leaves a copy; `scale` makes of them what they are to be.
    void (*keep)(const T* const* x, std::int64_t n_rows, std::int64_t width, std::int64_t ahead,
                 double* state, std::int64_t plane, T* const* out, T* reference);
    void (*scale)(std::int64_t n_rows, std::int64_t width, const T* reference, const T* parameters,
                  std::int64_t plane, T* const* out);
};

template <class T>
struct ArrayKernels {
    Reducer<T> reducers[static_cast<int>(Reduction::count)];
    Mapper<T> mappers[static_cast<int>(Mapping::count)];
};

struct ArrayTable {
    ArrayKernels<float> f32;
    ArrayKernels<double> f64;
};

}  // namespace vbfast
