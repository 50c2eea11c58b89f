#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "linalg/batches.h"
#include "python/interrupt.h"

namespace py = pybind11;

namespace vbfast::python {

namespace {

using Array = py::array_t<double, py::array::c_style | py::array::forcecast>;

py::tuple bound_precision_cholesky(const Array& covariances, int num_threads) {
    if (covariances.ndim() != 3 || covariances.shape(1) != covariances.shape(2))
        throw py::value_error("covariances must have shape (n_components, n_features, n_features)");
    const py::ssize_t K = covariances.shape(0), D = covariances.shape(1);
    py::array_t<double> factors({K, D, D});
    const double* in = covariances.data();
    double* out = factors.mutable_data();
    const std::int64_t failed = without_gil([&](const runtime::Interrupt* interrupt) {
        return linalg::precision_cholesky(in, K, D, out, num_threads, interrupt);
    });
    return py::make_tuple(factors, failed);
}

py::array_t<double> bound_ratio_norms(const Array& factors, const Array& denominators,
                                      int num_threads) {
    if (factors.ndim() != 3 || denominators.ndim() != 3)
        throw py::value_error("factors and denominators must have three dimensions");
    const py::ssize_t K = factors.shape(0), D = factors.shape(1), n = denominators.shape(0);
    if (factors.shape(2) != D || denominators.shape(1) != D || denominators.shape(2) != D)
        throw py::value_error("factors and denominators must hold matrices of one shape (D, D)");
    if (n != K && n != 1) throw py::value_error("there must be one denominator, or one a factor");
    py::array_t<double> norms(K);
    const double* in = factors.data();
    const double* by = denominators.data();
    double* out = norms.mutable_data();
    without_gil([&](const runtime::Interrupt* interrupt) {
        linalg::ratio_norms(in, by, n, K, D, out, num_threads, interrupt);
    });
    return norms;
}

py::array_t<double> bound_squares(const Array& factors, int num_threads) {
    if (factors.ndim() != 3 || factors.shape(1) != factors.shape(2))
        throw py::value_error("factors must have shape (n_components, n_features, n_features)");
    const py::ssize_t K = factors.shape(0), D = factors.shape(1);
    py::array_t<double> result({K, D, D});
    const double* in = factors.data();
    double* out = result.mutable_data();
    without_gil([&](const runtime::Interrupt* interrupt) {
        linalg::squares(in, K, D, out, num_threads, interrupt);
    });
    return result;
}

// An array for matrices that move along with vectors, if all of them go together.
py::array_t<double> moved_result(const Array& matrices, const Array& a, const Array& b) {
    if (matrices.ndim() != 3 || matrices.shape(1) != matrices.shape(2))
        throw py::value_error("matrices must have shape (n_components, n_features, n_features)");
    const py::ssize_t K = matrices.shape(0), D = matrices.shape(1);
    for (const Array& vectors : {a, b})
        if (vectors.ndim() != 2 || vectors.shape(0) != K || vectors.shape(1) != D)
            throw py::value_error("vectors must have shape (n_components, n_features)");
    return py::array_t<double>({K, D, D});
}

py::array_t<double> bound_subtract_symmetric(const Array& matrices, const Array& a, const Array& b,
                                             int num_threads) {
    py::array_t<double> result = moved_result(matrices, a, b);
    const py::ssize_t K = matrices.shape(0), D = matrices.shape(1);
    const double* in = matrices.data();
    const double *left = a.data(), *right = b.data();
    double* out = result.mutable_data();
    without_gil([&](const runtime::Interrupt* interrupt) {
        linalg::subtract_symmetric(in, left, right, K, D, out, num_threads, interrupt);
    });
    return result;
}

py::array_t<double> bound_average_moved(const Array& matrices, const Array& a, const Array& b,
                                        double kept, const Array& others, double taken,
                                        int num_threads) {
    py::array_t<double> result = moved_result(matrices, a, b);
    const py::ssize_t K = matrices.shape(0), D = matrices.shape(1);
    if (others.ndim() != 3 || others.shape(0) != K || others.shape(1) != D || others.shape(2) != D)
        throw py::value_error("others must be shaped as matrices");
    const double *in = matrices.data(), *added = others.data();
    const double *left = a.data(), *right = b.data();
    double* out = result.mutable_data();
    without_gil([&](const runtime::Interrupt* interrupt) {
        linalg::average_moved(in, left, right, kept, added, taken, K, D, out, num_threads,
                              interrupt);
    });
    return result;
}

py::tuple bound_matrix_gradients(const Array& weight, const Array& first, const Array& second,
                                 const Array& factors, int num_threads) {
    if (second.ndim() != 3 || second.shape(1) != second.shape(2))
        throw py::value_error("second must have shape (n_matrices, n_features, n_features)");
    const py::ssize_t n = second.shape(0), D = second.shape(1);
    if (factors.ndim() != 3 || factors.shape(0) != n || factors.shape(1) != D ||
        factors.shape(2) != D)
        throw py::value_error("factors must be shaped as second");
    if (weight.ndim() != 1 || weight.shape(0) != n)
        throw py::value_error("weight must have shape (n_matrices,)");
    if (first.ndim() != 3 || first.shape(0) != n || first.shape(2) != D)
        throw py::value_error("first must have shape (n_matrices, n_vectors, n_features)");
    const py::ssize_t n_vectors = first.shape(1);
    py::array_t<double> in_means({n, n_vectors, D}), in_covariances({n, D, D});
    py::array_t<double> in_factors({n, D, D});
    const linalg::MatrixMoments moments = {weight.data(), first.data(), second.data()};
    const double* by = factors.data();
    double* out[3] = {in_means.mutable_data(), in_covariances.mutable_data(),
                      in_factors.mutable_data()};
    without_gil([&](const runtime::Interrupt* interrupt) {
        linalg::matrix_gradients(moments, by, n, n_vectors, D, out[0], out[1], out[2], num_threads,
                                 interrupt);
    });
    return py::make_tuple(in_means, in_covariances, in_factors);
}

using Counts = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;

void bound_draw_rows(py::array_t<double, py::array::c_style>& rows, const Counts& counts,
                     const Array& factors, const Array& means, int num_threads) {
    if (means.ndim() != 2 || counts.ndim() != 1 || counts.shape(0) != means.shape(0))
        throw py::value_error("there must be a mean and a count for each component");
    const py::ssize_t K = means.shape(0), D = means.shape(1);
    if (factors.ndim() != 3 || (factors.shape(0) != K && factors.shape(0) != 1) ||
        factors.shape(1) != D || factors.shape(2) != D)
        throw py::value_error(
            "factors must have shape (n_components or 1, n_features, n_features)");
    if (rows.ndim() != 2 || rows.shape(1) != D)
        throw py::value_error("rows must have shape (n_samples, n_features)");
    const std::int64_t* numbers = counts.data();
    std::int64_t left = rows.shape(0);
    bool fits = true;
    for (py::ssize_t k = 0; k < K && fits; ++k) {
        fits = numbers[k] >= 0 && numbers[k] <= left;
        left -= numbers[k];
    }
    if (!fits || left != 0) throw py::value_error("counts must add up to the number of rows");
    const double *by = factors.data(), *about = means.data();
    double* out = rows.mutable_data();
    const py::ssize_t n_factors = factors.shape(0);
    without_gil([&](const runtime::Interrupt* interrupt) {
        linalg::draw_rows(by, n_factors, about, numbers, K, D, out, num_threads, interrupt);
    });
}

}  // namespace

void register_linalg(py::module_& module) {
    module.def("precision_cholesky", bound_precision_cholesky, py::arg("covariances"),
               py::arg("num_threads"),
               "Upper-triangular P with P P^T the inverse of each covariance, and the first "
               "component that is not positive definite, or -1.");
    module.def("ratio_norms", bound_ratio_norms, py::arg("factors"), py::arg("denominators"),
               py::arg("num_threads"),
               "The sum of squares of B^-1 A of upper-triangular factors A and denominators B, of "
               "which there is one for each or one for all.");
    module.def("squares", bound_squares, py::arg("factors"), py::arg("num_threads"),
               "U U^T of each upper-triangular factor U.");
    module.def("subtract_symmetric", bound_subtract_symmetric, py::arg("matrices"), py::arg("a"),
               py::arg("b"), py::arg("num_threads"), "Each matrix less a b^T + b a^T.");
    module.def("average_moved", bound_average_moved, py::arg("matrices"), py::arg("a"),
               py::arg("b"), py::arg("kept"), py::arg("others"), py::arg("taken"),
               py::arg("num_threads"),
               "`kept` times each matrix less a b^T + b a^T, plus `taken` times the other.");
    module.def("matrix_gradients", bound_matrix_gradients, py::arg("weight"), py::arg("first"),
               py::arg("second"), py::arg("factors"), py::arg("num_threads"),
               "Gradients of Gaussians in means, covariances and precision factors, from moments.");
    module.def("draw_rows", bound_draw_rows, py::arg("rows").noconvert(), py::arg("counts"),
               py::arg("factors"), py::arg("means"), py::arg("num_threads"),
               "Replaces standard normals, ordered by component, by draws of Gaussians with such "
               "precision factors.");
}

}  // namespace vbfast::python
