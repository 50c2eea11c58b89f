// The parameters of each form in the layout of its kernels (kernels/estep/*_form*-inl.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "estep/packed_model.h"
#include "estep/request.h"
#include "kernels/estep/table.h"

namespace vbfast::estep {

// How the parameters of a form are packed. The sizes of the model and its means are packed already.
template <class T>
struct FormPacking {
    // Makes room for all components, and packs what they share.
    void (*begin)(const MixtureParameters&, const Kernels<T>&, PackedModel<T>&);
    // Packs component k, whose mean about the origin is `mean`. Returns its squared distance from
    // there, in squared standard deviations of the narrowest direction.
    double (*component)(const MixtureParameters&, const Kernels<T>&, PackedModel<T>&,
                        std::int64_t k, const double* mean);
};

template <class T>
const FormPacking<T>& packing_of(Form form);

// The nearest finite number: infinity times a difference of zero would be NaN.
template <class T>
T as_finite(double value) {
    constexpr double largest = std::numeric_limits<T>::max();
    // NaN stays NaN. Two instructions: std::clamp takes ten.
    return static_cast<T>(std::max(std::min(value, largest), -largest));
}

}  // namespace vbfast::estep
