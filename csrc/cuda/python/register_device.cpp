#include <pybind11/pybind11.h>

#include "cuda/device.h"

namespace py = pybind11;

namespace vbfast::cuda {

namespace {

py::dict build_info() {
    py::dict info;
    info["version"] = VBFAST_VERSION;
    info["build_type"] = VBFAST_BUILD_TYPE;
    info["sanitizers"] = VBFAST_SANITIZE;
    info["architectures"] = built_architectures();
    return info;
}

py::dict versions() {
    const Versions found = query_versions();
    py::dict info;
    info["driver"] = found.driver;
    info["runtime"] = found.runtime;
    return info;
}

py::dict device_info() {
    const DeviceInfo device = query_device();
    py::dict info;
    info["index"] = device.index;
    info["name"] = device.name;
    info["compute_capability"] = py::make_tuple(device.major, device.minor);
    info["multiprocessors"] = device.multiprocessors;
    info["total_bytes"] = device.total_bytes;
    info["free_bytes"] = device.free_bytes;
    info["l2_bytes"] = device.l2_bytes;
    info["shared_bytes"] = device.shared_bytes;
    return info;
}

}  // namespace

void register_device(py::module_& module) {
    module.def("build_info", build_info,
               "Version, build type, sanitizers, and architectures compiled for.");
    module.def("versions", versions,
               "CUDA versions of the driver, 0 without one, and of the runtime; 13000 for 13.0.");
    module.def("device_info", device_info,
               "The device in use. RuntimeError without a driver or a device, or if the driver is "
               "older than the runtime.");
}

}  // namespace vbfast::cuda
