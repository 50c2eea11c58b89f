// One pass of k-means++ on the device.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "cuda/chunk_feed.h"

namespace vbfast::cuda {

class Seeding {
  public:
    virtual ~Seeding() = default;
    // Processes blocks, with their distances. Returns the first row that is not finite, or -1.
    virtual std::int64_t run(const std::vector<Block>& blocks, const Interrupt& interrupt) = 0;
    // Of each candidate, over partitions in their order.
    virtual std::vector<double> potentials() = 0;
};

template <class T>
std::unique_ptr<Seeding> make_seeding(const double* candidates, std::int64_t n_candidates,
                                      std::int64_t n_features,
                                      const std::vector<std::int64_t>& bounds,
                                      std::shared_ptr<Workspace> workspace);

}  // namespace vbfast::cuda
