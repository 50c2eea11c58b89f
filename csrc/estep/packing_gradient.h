// Coefficients of the gradient in the rows (kernels/estep/mixed_gradient-inl.h and
// gathered_gradient-inl.h).
#pragma once

#include "estep/packed_model.h"
#include "estep/request.h"
#include "kernels/estep/table.h"
#include "runtime/threads.h"

namespace vbfast::estep {

// Decides which coefficients a pass needs, packs them and points the model at them. Needs the
// model's sizes and the packed origin. Interruptible.
template <class T>
void pack_gradient(const MixtureParameters& parameters, std::int64_t tile_rows,
                   const Kernels<T>& kernels, PackedModel<T>& packed, int num_threads,
                   const runtime::Interrupt* interrupt);

}  // namespace vbfast::estep
