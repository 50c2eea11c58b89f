// One pass over the rows: local and summary step fused tile by tile, partitions in parallel.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "estep/nearest_bounds.h"
#include "estep/request.h"
#include "estep/row_block.h"
#include "estep/workspace.h"
#include "kernels/estep/tile.h"
#include "runtime/threads.h"

namespace vbfast::estep {

// Methods that take an interrupt, which may be null, throw Interrupted. The pass is of no use then.
class EStep {
  public:
    virtual ~EStep() = default;
    // Processes blocks of distinct partitions. Returns the first row that is not finite, or -1.
    virtual std::int64_t run(const std::vector<RowBlock>& blocks, int num_threads,
                             const runtime::Interrupt* interrupt) = 0;
    // Sums over all partitions, merged in their order.
    virtual TileSums sums() const = 0;
    // Merges the partitions, and writes moments about the components' means: weight (K,), first
    // (K, D) and second. Of second moments, full has (K, D, D), pooled (D, D), diag (K, D), and
    // spherical (K,), the mean over the features.
    virtual void statistics(double* weight, double* first, double* second, int num_threads,
                            const runtime::Interrupt* interrupt) = 0;
};

// With bounds, a pass that finds nearest centres may leave out distances. It leaves the sum of the
// expected log-joint at zero; its labels, outputs and statistics are the same to the bit. Other
// passes do not look at them.
template <class T>
std::unique_ptr<EStep> make_estep(const MixtureParameters& parameters, const PassRequest& request,
                                  Workspace& workspace, int num_threads,
                                  const runtime::Interrupt* interrupt,
                                  NearestBounds* bounds = nullptr);

}  // namespace vbfast::estep
