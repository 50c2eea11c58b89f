// Memory that the passes of one fit use again.
#pragma once

#include <cstddef>
#include <deque>

#include "runtime/memory.h"

namespace vbfast::estep {

// Page faults of new memory would cost more than a small pass.
class Workspace {
  public:
    // Partial statistic `index` of `size` doubles. Pointers to others stay.
    double* partial(std::size_t index, std::size_t size) {
        while (partials_.size() <= index) partials_.emplace_back();
        return static_cast<double*>(partials_[index].reserve(size * sizeof(double)));
    }
    char* scratch(std::size_t bytes) { return static_cast<char*>(scratch_.reserve(bytes)); }

  private:
    std::deque<runtime::Buffer> partials_;
    runtime::Buffer scratch_;
};

}  // namespace vbfast::estep
