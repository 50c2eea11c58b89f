// How many threads a call takes.
#pragma once

#include <cstdint>

namespace vbfast::runtime {

// Processors that affinity and control groups leave to this process, at least one.
int available_threads();

// The number of threads of a call that names none: that of set_num_threads, else
// VBFAST_NUM_THREADS, else OMP_NUM_THREADS, else available_threads(). The first call throws
// std::invalid_argument where VBFAST_NUM_THREADS is set to anything but a positive number.
int get_num_threads();
void set_num_threads(int num_threads);  // 0 goes back to the default

// The most threads that a call gets: the machine's processors, or 64 where those are fewer. More
// gain nothing, and each takes some megabytes of address space.
int most_threads();

// The number of threads for a call of this many elementary operations, of a tenth of a nanosecond
// each, as a multiplication in lanes: num_threads (0: the default) and at most most_threads(), but
// no more than have a share that is worth waking them for.
int threads_for(std::int64_t operations, int num_threads);

}  // namespace vbfast::runtime
