// One pass over the rows on the device.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "cuda/chunk_feed.h"
#include "cuda/posterior.h"
#include "cuda/workspace.h"
#include "estep/request.h"

namespace vbfast::cuda {

// What a call has found.
struct RunFound {
    std::int64_t first_bad;  // the first row that is not finite, or -1
    // Rows whose every log-joint overflows, in their order, where their labels or responsibilities
    // are wanted: these are left as of no component.
    std::vector<std::int64_t> impossible;
};

class EStep {
  public:
    virtual ~EStep() = default;
    // Processes blocks of distinct partitions.
    virtual RunFound run(const std::vector<Block>& blocks, const Interrupt& interrupt) = 0;
    // Sums over all partitions, merged in their order.
    virtual RowSums sums() = 0;
    // Moments about the components' means, as estep::EStep::statistics writes them.
    virtual void statistics(double* weight, double* first, double* second) = 0;
};

// Tiles are of tile_rows, and all partitions are open: what the request says of these is not looked
// at. The parameters are read here and not later. `tensor_cores` says whether triangular factors
// and second moments take these, wherever they can; by default the faster ones are chosen.
template <class T>
std::unique_ptr<EStep> make_estep(const estep::MixtureParameters& parameters,
                                  const estep::PassRequest& request,
                                  std::shared_ptr<Workspace> workspace,
                                  std::optional<bool> tensor_cores);

}  // namespace vbfast::cuda
