// One pass over the rows: local and summary step fused tile by tile, partitions in parallel.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "estep/request.h"
#include "estep/row_block.h"
#include "estep/workspace.h"
#include "kernels/estep/tile.h"
#include "runtime/threads.h"

namespace vbfast::estep {

// Whatever takes an interrupt (or null) throws Interrupted, and is of no more use then.
class EStep {
  public:
    virtual ~EStep() = default;
    // Blocks of distinct partitions. Returns the first row that is not finite, or -1.
    virtual std::int64_t run(const std::vector<RowBlock>& blocks, int num_threads,
                             const runtime::Interrupt* interrupt) = 0;
    // Sums over all partitions, merged in their order.
    virtual TileSums sums() const = 0;
    // Moments about the components' means: weight (K,), first (K, D) and second: full (K, D, D),
    // tied (D, D), diag (K, D), spherical (K,), the mean over the features.
    virtual void statistics(double* weight, double* first, double* second, int num_threads,
                            const runtime::Interrupt* interrupt) = 0;
};

template <class T>
std::unique_ptr<EStep> make_estep(const MixtureParameters& parameters, const PassRequest& request,
                                  Workspace& workspace, int num_threads,
                                  const runtime::Interrupt* interrupt);

}  // namespace vbfast::estep
