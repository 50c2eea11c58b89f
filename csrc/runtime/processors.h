// How many processors the system leaves to this process.
#pragma once

#if defined(__linux__)
#include <sched.h>

#include <string>

namespace vbfast::runtime {

// The number of processors in the affinity mask, however large that is, or 0 where it cannot be
// read. `read` is sched_getaffinity, or a test's stand-in.
int processors_of_affinity(int (*read)(pid_t, std::size_t, cpu_set_t*));

// The number of processors whose time the control groups around this process allow, rounded up: the
// least over its group and all groups that hold it, of both versions. 0 where none sets a limit.
// `root` comes before every path that is read.
int control_group_limit(const std::string& root);

}  // namespace vbfast::runtime
#endif
