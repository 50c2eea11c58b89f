#include "python/array_checks.h"

#include <pybind11/pybind11.h>

#include <string>

namespace py = pybind11;

namespace vbfast::python {

void check_shape(const py::array& a, const char* name, const std::vector<py::ssize_t>& shape) {
    bool fits = a.ndim() == static_cast<py::ssize_t>(shape.size());
    for (py::ssize_t d = 0; fits && d < a.ndim(); ++d) {
        const py::ssize_t length = shape[static_cast<std::size_t>(d)];
        fits = length == any_length || a.shape(d) == length;
    }
    if (fits) return;
    py::tuple wanted(shape.size());
    for (std::size_t d = 0; d < shape.size(); ++d)
        wanted[d] = shape[d] == any_length ? py::object(py::str("any")) : py::int_(shape[d]);
    throw py::value_error(
        py::str("{} must have shape {}; got {}").format(name, wanted, a.attr("shape")));
}

void check_dtype(const py::array& a, const char* name, const py::dtype& dtype) {
    if (!a.dtype().equal(dtype))
        throw py::value_error(
            py::str("{} must have dtype {}; got {}").format(name, dtype, a.dtype()));
}

void check_packed(const py::array& a, const char* name, const std::vector<py::ssize_t>& shape,
                  const py::dtype& dtype) {
    using Api = py::detail::npy_api;
    check_shape(a, name, shape);
    check_dtype(a, name, dtype);
    constexpr int wanted = Api::NPY_ARRAY_C_CONTIGUOUS_ | Api::NPY_ARRAY_ALIGNED_;
    if ((a.flags() & wanted) != wanted)
        throw py::value_error(std::string(name) + " must be C-contiguous and aligned");
}

}  // namespace vbfast::python
