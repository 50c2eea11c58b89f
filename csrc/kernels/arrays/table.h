// What one instruction-set level offers to the array functions. As in kernels/estep/table.h, plain
// data and function pointers only.
//
// A slice is the elements that are reduced together. Its state is a column of doubles: one for each
// reference (a running maximum of logits or minimum of probabilities, which starts at -inf or
// +inf), then one for each sum. States of several slices lie in planes: entry k of slice i is
// state[k * plane + i]. A plane is a multiple of 16, so that lanes may run over the end of the last
// slice. Elements, states and parameters may lie at any address that suits their type; no other
// elements are read or written.
#pragma once

#include <cstdint>

#include "tuning.h"

namespace vbfast::arrays {

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
// The most elements of each of which chunks are added to a state one after another. Of float64 they
// are fewer: its sums are no wider than the elements.
template <class T>
constexpr std::int64_t column_part =
    sizeof(T) == 8 ? 16 * tuning::column_chunk : 1024 * tuning::column_chunk;

// `prefetch_distance`, in elements: what is probably read next lies that far after the elements of
// a call, in each input. It is prefetched while they are summed, when memory would rest otherwise.
// 0 prefetches nothing new.
template <class T>
struct Reducer {
    int inputs;
    int references;
    int sums;
    bool logits[2];  // kind of each input
    // Writes the state of one contiguous slice of n <= row_chunk elements.
    void (*row)(const T* x, const T* y, std::int64_t n, std::int64_t prefetch_distance,
                double* state, std::int64_t plane);
    // Adds n_rows <= column_chunk elements of width <= column_width slices side by side: x[r]
    // points at element r of all of them.
    void (*columns)(const T* const* x, const T* const* y, std::int64_t n_rows, std::int64_t width,
                    std::int64_t prefetch_distance, double* state, std::int64_t plane);
    // Adds other states, of other elements of the same slices.
    void (*merge)(double* state, const double* other, std::int64_t plane, std::int64_t width);
    void (*finish)(const double* state, std::int64_t plane, std::int64_t width, double* results);
};

template <class T>
struct Mapper {
    // The parameters of a slice are numbers, those of columns planes. `non_temporal`: outputs are
    // written by non-temporal stores.
    void (*row)(const T* x, const T* y, std::int64_t n, const T* parameters, T* out0, T* out1,
                bool non_temporal);
    void (*columns)(const T* const* x, const T* const* y, std::int64_t n_rows, std::int64_t width,
                    const T* parameters, std::int64_t plane, T* const* out0, T* const* out1,
                    bool non_temporal);
    // Reduces and maps a slice of n <= row_chunk elements with one exponential an element; null
    // where that saves none.
    void (*fused)(const T* x, const T* y, std::int64_t n, std::int64_t prefetch_distance,
                  double weight, T* out0, T* out1, bool non_temporal, double* state,
                  std::int64_t plane);
    // The same for columns, in two calls: `keep` has to see all of a slice before `scale` does.
    // Null likewise. `keep` adds to the state as Reducer::columns does, writes exponentials about
    // the references, and leaves a copy of these; `scale` turns the exponentials into the map.
    void (*keep)(const T* const* x, std::int64_t n_rows, std::int64_t width,
                 std::int64_t prefetch_distance, double* state, std::int64_t plane, T* const* out,
                 T* reference);
    void (*scale)(std::int64_t n_rows, std::int64_t width, const T* reference, const T* parameters,
                  std::int64_t plane, T* const* out);
};

template <class T>
struct Kernels {
    Reducer<T> reducers[static_cast<int>(Reduction::count)];
    Mapper<T> mappers[static_cast<int>(Mapping::count)];
};

struct Table {
    Kernels<float> f32;
    Kernels<double> f64;
};

// The kernels of the level in use (runtime/dispatch.h), in one precision.
template <class T>
const Kernels<T>& kernels();
template <>
const Kernels<float>& kernels<float>();
template <>
const Kernels<double>& kernels<double>();

}  // namespace vbfast::arrays
