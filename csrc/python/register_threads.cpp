#include <pybind11/pybind11.h>

#include "runtime/thread_count.h"

namespace vbfast::python {

void register_threads(pybind11::module_& module) {
    using pybind11::arg;
    module.def("get_num_threads", runtime::get_num_threads,
               "Threads that a kernel uses by default.");
    module.def("set_num_threads", runtime::set_num_threads, arg("num_threads"),
               "Set that number; 0 goes back to the default.");
    module.def("available_threads", runtime::available_threads,
               "Processors that affinity and control groups leave to this process.");
}

}  // namespace vbfast::python
