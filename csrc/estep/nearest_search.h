// The labels of a pass of k-means: by bounds where they pay, else from all distances.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "estep/centre_blocks.h"
#include "estep/nearest_bounds.h"
#include "estep/packed_model.h"
#include "estep/request.h"
#include "estep/row_block.h"
#include "kernels/estep/table.h"
#include "runtime/threads.h"

namespace vbfast::estep {

// Whether a pass finds the nearest of equal centres and wants no more of rows than labels or
// log-joints of these, so that bounds may take the place of distances.
bool finds_nearest(const MixtureParameters& parameters, const PassRequest& request);

template <class T>
class NearestSearch {
  public:
    // The model is packed already. Throws Interrupted.
    NearestSearch(const MixtureParameters& parameters, const PassRequest& request,
                  const Kernels<T>& kernels, const PackedModel<T>& packed, NearestBounds& bounds,
                  int num_threads, const runtime::Interrupt* interrupt);

    // The rows whose labels are found together, a multiple of tile_rows: they stay in L2.
    std::int64_t rows_at_once() const { return rows_at_once_; }
    std::size_t scratch_bytes() const;

    // Finds the labels of rows [first, first + n) of a block, in a tile and in scratch memory.
    // Returns the first row of them that is not finite, or -1.
    std::int64_t find_labels(const RowBlock& block, std::int64_t first, std::int64_t n,
                             Tile<T>& tile, char* memory, RowRange<T>& range);

    // Counts rows that were visited. After all of them, bounds hold for the centres of this pass.
    void count(std::int64_t n_rows);

  private:
    std::size_t lay_out(char* memory, RowRange<T>& range, T*& copied) const;
    RowRange<T> range_of(const RowBlock& block, std::int64_t first, std::int64_t n) const;

    const PassRequest& request_;
    const Kernels<T>& kernels_;
    const PackedModel<T>& packed_;
    NearestBounds& bounds_;
    const std::vector<double> centres_;
    PackedBlocks<T> blocks_;
    bool by_bounds_;
    bool bounded_ = false;
    bool labelled_ = false;
    std::int64_t rows_at_once_;
    std::int64_t n_visited_ = 0;
    std::atomic<std::int64_t> n_met_{0};
};

}  // namespace vbfast::estep
