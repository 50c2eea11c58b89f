// How many processors the system leaves to this process.
#pragma once

#if defined(__linux__)
#include <sched.h>

#include <string>

namespace vbfast::runtime {

// Processors in the affinity mask, of any size, or 0 where it cannot be read. `read` is
// sched_getaffinity, or stands for it.
int processors_of_affinity(int (*read)(pid_t, std::size_t, cpu_set_t*));

// Processors' worth of time, rounded up, that the control groups around this process allow: the
// least over its group and all that hold it, of both versions; 0 where none sets a limit. `root`
// comes before every path that is read.
int control_group_limit(const std::string& root);

}  // namespace vbfast::runtime
#endif
