// Centres in blocks (kernels/estep/nearest_search.h), with the memory that they lie in.
#pragma once

#include <cstdint>
#include <vector>

#include "estep/nearest_bounds.h"
#include "estep/packed_model.h"
#include "estep/request.h"
#include "kernels/estep/table.h"
#include "runtime/threads.h"

namespace vbfast::estep {

template <class T>
struct PackedBlocks {
    CentreBlocks<T> blocks{};
    std::vector<T> means, centres, centres_low, half_norm, offset, name, near;
    std::vector<std::int32_t> block;
    std::vector<float> gap, nearest_low, nearest_high, shift;
};

// Packs the centres of a spherical mixture of equal precisions, and their ways since the pass that
// the bounds are of. Returns false where rounding or the range of T leaves nothing to go by: their
// norms, or squares of them, are so large or small. Orders the centres if the bounds have no order
// of them yet. Throws Interrupted.
template <class T>
bool pack_blocks(const MixtureParameters& parameters, const PackedModel<T>& packed,
                 const Kernels<T>& kernels, NearestBounds& bounds, PackedBlocks<T>& out,
                 int num_threads, const runtime::Interrupt* interrupt);

}  // namespace vbfast::estep
