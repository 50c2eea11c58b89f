// From a family's parameters to the layout of the kernels (kernels/estep/model.h).
#pragma once

#include "estep/packed_model.h"
#include "estep/request.h"
#include "kernels/estep/table.h"
#include "runtime/threads.h"

namespace vbfast::estep {

// Interruptible (interrupt may be null), as what it calls: throws Interrupted.
template <class T>
void pack(const MixtureParameters& parameters, const PassRequest& request,
          const Kernels<T>& kernels, PackedModel<T>& packed, int num_threads,
          const runtime::Interrupt* interrupt);

}  // namespace vbfast::estep
