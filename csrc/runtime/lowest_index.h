// What several threads found first.
#pragma once

#include <atomic>
#include <cstdint>

namespace vbfast::runtime {

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

}  // namespace vbfast::runtime
