// What passes over the rows have in common.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "kernels/estep/table.h"
#include "runtime/threads.h"

namespace vbfast {

// Consecutive rows of one partition; strides in bytes.
struct Block {
    std::int64_t partition;
    std::int64_t start;
    const void* rows;
    std::int64_t row_stride;
    std::int64_t feature_stride;
    std::int64_t n_rows;
    const double* weights;
    const void* given;
    const std::int64_t* given_label;
    const void* closest;  // seeding only, in the precision of the pass
    void* lowered;        // or null
    std::int64_t lowered_stride;
};

// The lowest index that several threads have seen, or -1: of a bad row, say.
class LowestIndex {
  public:
    void offer(std::int64_t index) {
        std::int64_t current = index_.load();
        while ((current < 0 || index < current) && !index_.compare_exchange_weak(current, index)) {
        }
    }
    std::int64_t index() const { return index_.load(); }

  private:
    std::atomic<std::int64_t> index_{-1};
};

std::int64_t count_rows(const std::vector<Block>& blocks);

// Points a tile at rows [first, first + n) of a block, for K components.
template <class T>
void point_at(Tile<T>& tile, const Block& block, std::int64_t first, std::int64_t n,
              std::int64_t K);

// The kernels in use, in one precision.
template <class T>
const KernelSet<T>& kernel_set();
template <>
const KernelSet<float>& kernel_set<float>();
template <>
const KernelSet<double>& kernel_set<double>();

}  // namespace vbfast
