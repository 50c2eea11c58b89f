// Coefficients of the gradient in the rows (kernels/estep/mixed_gradient-inl.h and
// gathered_gradient-inl.h).
#pragma once

#include "estep/packed_model.h"
#include "estep/request.h"
#include "kernels/estep/table.h"
#include "runtime/threads.h"

namespace vbfast::estep {

// Decides which coefficients a pass takes, packs them and points the model at them. The model's
// sizes and the origin are packed already. Throws Interrupted.
template <class T>
void pack_gradient(const MixtureParameters& parameters, std::int64_t tile_rows,
                   const Kernels<T>& kernels, PackedModel<T>& packed, int num_threads,
                   const runtime::Interrupt* interrupt);

}  // namespace vbfast::estep
