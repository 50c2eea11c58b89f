// Memory that the passes of one fit use again.
#pragma once

#include <array>
#include <memory>

#include "cuda/device.h"
#include "cuda/memory.h"

namespace vbfast::cuda {

// Where a chunk's inputs lie: two of them, so that one is filled while the other one is used.
struct Slot {
    Buffer rows, weights, given, tiles, ranges, looked;
    Event filled, used;
};

class Workspace {
  public:
    Workspace() : device(query_device()) {}

    const DeviceInfo device;
    Stream compute, copy;
    std::array<Slot, 2> slots;
    Buffer joint, whitened, component_sums, tile_sums, row_sums, partials, merged;
    Buffer impossible_count, impossible_rows, gradient_work;
    // Outputs of a chunk.
    Buffer log_evidence, labels, resp, entropy, expected_log_joint, gradient, log_joint;
};

}  // namespace vbfast::cuda
