#include <pybind11/pybind11.h>

#include "runtime/threads.h"

namespace vbfast {

void register_threads(pybind11::module_& module) {
    using pybind11::arg;
    module.def("get_num_threads", get_num_threads, "Threads that a kernel uses by default.");
    module.def("set_num_threads", set_num_threads, arg("num_threads"),
               "Set that number; 0 goes back to the default.");
    module.def("available_threads", available_threads,
               "Processors that affinity and control groups leave to this process.");
}

}  // namespace vbfast
