#include <pybind11/pybind11.h>

#include "runtime/dispatch.h"
#include "runtime/thread_count.h"

namespace vbfast::python {
void register_build_info(pybind11::module_& module);
void register_threads(pybind11::module_& module);
void register_linalg(pybind11::module_& module);
void register_posteriors(pybind11::module_& module);
void register_estep(pybind11::module_& module);
void register_loops(pybind11::module_& module);
void register_truncated(pybind11::module_& module);
void register_array_arguments(pybind11::module_& module);
void register_arrays(pybind11::module_& module);
void register_capi(pybind11::module_& module);
}  // namespace vbfast::python

PYBIND11_MODULE(_vbfast, module) {
    module.doc() = "Native kernels of vbfast.";
    // A VBFAST_SIMD that this machine lacks, or a wrong VBFAST_NUM_THREADS, is an error at import.
    vbfast::runtime::level();
    vbfast::runtime::get_num_threads();
    vbfast::python::register_build_info(module);
    vbfast::python::register_threads(module);
    vbfast::python::register_linalg(module);
    vbfast::python::register_posteriors(module);
    vbfast::python::register_estep(module);
    vbfast::python::register_loops(module);
    vbfast::python::register_truncated(module);
    vbfast::python::register_array_arguments(module);
    vbfast::python::register_arrays(module);
    vbfast::python::register_capi(module);
}
