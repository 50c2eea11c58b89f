#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "runtime/dispatch.h"

namespace py = pybind11;

namespace vbfast::python {

namespace {

py::dict build_info() {
    py::dict info;
    info["version"] = VBFAST_VERSION;
    info["build_type"] = VBFAST_BUILD_TYPE;
    info["sanitizers"] = VBFAST_SANITIZE;
#if defined(__VERSION__)
    info["compiler"] = __VERSION__;
#else
    info["compiler"] = "unknown";
#endif
    info["simd"] = runtime::level_name();
    info["simd_available"] = runtime::available_levels();
    info["simd_built"] = runtime::built_levels();
    return info;
}

}  // namespace

void register_build_info(py::module_& module) {
    module.def("build_info", build_info,
               "Version, compiler, build type, sanitizers, and instruction-set levels: in use, "
               "available on this machine, built.");
}

}  // namespace vbfast::python
