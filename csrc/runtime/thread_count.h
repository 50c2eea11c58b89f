// How many threads a call takes.
#pragma once

#include <cstdint>

namespace vbfast::runtime {

// Processors that this process may use: affinity and control-group quota, at least one.
int available_threads();

// The number of threads of a call that does not say: set_num_threads, else VBFAST_NUM_THREADS, else
// OMP_NUM_THREADS, else available_threads(). The first call throws std::invalid_argument where
// VBFAST_NUM_THREADS is set to anything but a positive number.
int get_num_threads();
void set_num_threads(int num_threads);  // 0 goes back to the default

// The most threads that a call gets: more than the machine has processors gain nothing, and each
// takes some megabytes of address space.
int most_threads();

// The threads of a call for so many elementary operations, of a nanosecond or less, altogether: one
// where the work takes no longer than waking another, else num_threads (0: the default), but no
// more than there are processors, or 64 where those are fewer.
int threads_for(std::int64_t operations, int num_threads);

}  // namespace vbfast::runtime
