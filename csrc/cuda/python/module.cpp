#include <pybind11/pybind11.h>

#include <exception>
#include <new>

#include "cuda/errors.h"

namespace py = pybind11;

namespace vbfast::cuda {
void register_arrays(py::module_& module);
void register_device(py::module_& module);
void register_estep(py::module_& module);
}  // namespace vbfast::cuda

namespace {

// Memory that the device lacks is what Python calls it elsewhere.
void translate(std::exception_ptr exception) {
    try {
        if (exception) std::rethrow_exception(exception);
    } catch (const vbfast::cuda::Error& error) {
        const bool memory = error.code() == cudaErrorMemoryAllocation;
        PyErr_SetString(memory ? PyExc_MemoryError : PyExc_RuntimeError, error.what());
    }
}

}  // namespace

PYBIND11_MODULE(_vbfast_cuda, module) {
    module.doc() = "CUDA kernels of vbfast.";
    py::register_local_exception_translator(translate);
    vbfast::cuda::register_arrays(module);
    vbfast::cuda::register_device(module);
    vbfast::cuda::register_estep(module);
}
