// Triangular factors in the layouts of the kernels, on the device.
#pragma once

#include <cstdint>

#include "cuda/model.h"
#include "cuda/platform.h"

namespace vbfast::cuda {

// Factors as a mixture has them, on the device: float64, whole matrices.
template <class T>
struct Factors {
    const double* matrices;  // (n_components, D, D) or, where all have one, (D, D)
    bool shared;
    const double* means;  // (n_components, D), or null where points hold them exactly
    const T* points;      // (n_components, D): what is subtracted from rows first
    int n_components;
    int n_features;
};

// Writes the lines of FactorLines, `lines_per_component` each.
template <class T>
void pack_lines(const Factors<T>& factors, const FactorLines<T>& layout, T* out,
                cudaStream_t stream);

// Writes the records of FactorSteps.
template <class T>
void pack_steps(const Factors<T>& factors, std::int64_t steps_per_component, T* out,
                cudaStream_t stream);

}  // namespace vbfast::cuda
