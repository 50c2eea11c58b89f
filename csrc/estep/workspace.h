// Memory that the passes of one fit use again.
#pragma once

#include <cstddef>

#include "runtime/memory.h"

namespace vbfast::estep {

// What the passes of one fit use again, or its page faults would cost more than small passes.
class Workspace {
  public:
    double* partials(std::size_t count) {
        return static_cast<double*>(partials_.reserve(count * sizeof(double)));
    }
    char* scratch(std::size_t bytes) { return static_cast<char*>(scratch_.reserve(bytes)); }

  private:
    runtime::Buffer partials_;
    runtime::Buffer scratch_;
};

}  // namespace vbfast::estep
