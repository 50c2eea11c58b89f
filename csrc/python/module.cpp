#include <pybind11/pybind11.h>

#include "runtime/dispatch.h"
#include "runtime/threads.h"

namespace vbfast {
void register_build_info(pybind11::module_& module);
void register_threads(pybind11::module_& module);
void register_linalg(pybind11::module_& module);
void register_estep(pybind11::module_& module);
void register_array_arguments(pybind11::module_& module);
void register_arrays(pybind11::module_& module);
void register_capi(pybind11::module_& module);
}  // namespace vbfast

PYBIND11_MODULE(_vbfast, module) {
    module.doc() = "Native kernels of vbfast.";
    // A VBFAST_SIMD that this machine lacks, or a VBFAST_NUM_THREADS that is no number, is an error
    // at import.
    vbfast::kernels();
    vbfast::get_num_threads();
    vbfast::register_build_info(module);
    vbfast::register_threads(module);
    vbfast::register_linalg(module);
    vbfast::register_estep(module);
    vbfast::register_array_arguments(module);
    vbfast::register_arrays(module);
    vbfast::register_capi(module);
}
