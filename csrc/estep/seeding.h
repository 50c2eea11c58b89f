// k-means++ seeding on the tiles of a pass.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "estep/row_block.h"
#include "runtime/threads.h"

namespace vbfast::estep {

// Finds the potentials of candidates (n_candidates, n_features).
class Seeding {
  public:
    virtual ~Seeding() = default;
    // As EStep::run.
    virtual std::int64_t run(const std::vector<RowBlock>& blocks, int num_threads,
                             const runtime::Interrupt* interrupt) = 0;
    virtual std::vector<double> potentials() const = 0;
};

template <class T>
std::unique_ptr<Seeding> make_seeding(const double* candidates, std::int64_t n_candidates,
                                      std::int64_t n_features,
                                      const std::vector<std::int64_t>& bounds,
                                      std::int64_t tile_rows);

}  // namespace vbfast::estep
