#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "linalg.h"

namespace py = pybind11;

namespace vbfast {

namespace {

using Array = py::array_t<double, py::array::c_style | py::array::forcecast>;

py::tuple bound_precision_cholesky(const Array& covariances, int num_threads) {
    if (covariances.ndim() != 3 || covariances.shape(1) != covariances.shape(2))
        throw py::value_error("covariances must have shape (n_components, n_features, n_features)");
    const py::ssize_t K = covariances.shape(0), D = covariances.shape(1);
    py::array_t<double> factors({K, D, D});
    py::array_t<double> log_det(K);
    const double* in = covariances.data();
    double* out = factors.mutable_data();
    double* log_det_out = log_det.mutable_data();
    std::int64_t failed;
    {
        const py::gil_scoped_release release;
        failed = precision_cholesky(in, K, D, out, log_det_out, num_threads);
    }
    return py::make_tuple(factors, log_det, failed);
}

}  // namespace

void register_linalg(py::module_& module) {
    module.def("precision_cholesky", bound_precision_cholesky, py::arg("covariances"),
               py::arg("num_threads"),
               "Upper-triangular P with P P^T the inverse of each covariance, log det P, and the "
               "first component that is not positive definite, or -1.");
}

}  // namespace vbfast
