#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "linalg/factors.h"
#include "linalg/gamma_differences.h"
#include "linalg/gaussian_moments.h"
#include "linalg/mixing_weights.h"
#include "linalg/moment_shifts.h"
#include "linalg/normal_wishart.h"
#include "python/array_checks.h"
#include "python/interrupt.h"
#include "python/patterns.h"

namespace py = pybind11;

namespace vbfast::python {

namespace {

void check_same_length(const Numbers& a, const Numbers& b, const char* name) {
    check_shape(a, name, {any_length});
    check_shape(b, name, {a.shape(0)});
}

Numbers bound_dirichlet_expected_log(const Numbers& concentration) {
    check_shape(concentration, "concentration", {any_length});
    Numbers result(concentration.shape(0));
    linalg::dirichlet_expected_log(concentration.data(), concentration.shape(0),
                                   result.mutable_data());
    return result;
}

double bound_dirichlet_log_evidence(double prior_concentration, const Numbers& counts) {
    check_shape(counts, "counts", {any_length});
    return linalg::dirichlet_log_evidence(prior_concentration, counts.data(), counts.shape(0));
}

Numbers bound_stick_expected_log(const Numbers& taken, const Numbers& left) {
    check_same_length(taken, left, "sticks");
    Numbers result(taken.shape(0));
    linalg::stick_expected_log(taken.data(), left.data(), taken.shape(0), result.mutable_data());
    return result;
}

double bound_stick_log_evidence(double gamma, const Numbers& rows, const Numbers& later) {
    check_same_length(rows, later, "rows of sticks");
    return linalg::stick_log_evidence(gamma, rows.data(), later.data(), rows.shape(0));
}

py::tuple bound_normal_wishart_posterior(const std::string& covariance_type,
                                         double prior_mean_precision, const Numbers& prior_mean,
                                         double prior_degrees_of_freedom,
                                         const Numbers& prior_covariance, const Numbers& centres,
                                         const Numbers& weight, const Numbers& mass,
                                         const Numbers& first, const Numbers& second,
                                         double variance, double least_count, int num_threads) {
    const linalg::Pattern pattern = parse_pattern(covariance_type);
    check_shape(centres, "centres", {any_length, any_length});
    const py::ssize_t K = centres.shape(0), D = centres.shape(1);
    const Lengths matrices = shape_of_matrices(pattern, K, D);
    check_shape(prior_mean, "prior_mean", {D});
    check_shape(prior_covariance, "prior_covariance", without_components(pattern, matrices));
    check_shape(weight, "weight", {K});
    check_shape(mass, "mass", {K});
    check_shape(first, "first", {K, D});
    check_shape(second, "second", matrices);
    Numbers mean_precision(K), means({K, D}), degrees(shape_of_degrees(pattern, K));
    Numbers covariances(matrices), factor(matrices);
    const linalg::NormalWishartPrior prior = {prior_mean_precision, prior_mean.data(),
                                              prior_degrees_of_freedom, prior_covariance.data()};
    const linalg::MomentSums sums = {centres.data(), weight.data(), mass.data(), first.data(),
                                     second.data()};
    const linalg::NormalWishartOutputs out = {mean_precision.mutable_data(), means.mutable_data(),
                                              degrees.mutable_data(), covariances.mutable_data(),
                                              factor.mutable_data()};
    const std::int64_t failed = without_gil([&](const runtime::Interrupt* interrupt) {
        return linalg::normal_wishart_posterior(pattern, K, D, prior, sums, variance, least_count,
                                                out, num_threads, interrupt);
    });
    return py::make_tuple(mean_precision, means, degrees, covariances, factor, failed);
}

// Distributions as a tuple: mean precision, means, degrees of freedom, factor. A mean without an
// axis of components is that of one for all.
class Distributions {
  public:
    Distributions(const py::tuple& given, linalg::Pattern pattern, py::ssize_t K, py::ssize_t D)
        : mean_precision_(given[0].cast<Numbers>()),
          means_(given[1].cast<Numbers>()),
          degrees_(given[2].cast<Numbers>()),
          factor_(given[3].cast<Numbers>()),
          one_(means_.ndim() == 1) {
        const Lengths matrices = shape_of_matrices(pattern, K, D);
        check_shape(mean_precision_, "mean_precision", one_ ? Lengths{} : Lengths{K});
        check_shape(means_, "means", one_ ? Lengths{D} : Lengths{K, D});
        check_shape(degrees_, "degrees_of_freedom",
                    one_ ? Lengths{} : shape_of_degrees(pattern, K));
        check_shape(factor_, "factor", one_ ? without_components(pattern, matrices) : matrices);
    }

    linalg::NormalWisharts pointers() const {
        return {mean_precision_.data(), means_.data(), degrees_.data(), factor_.data(), one_};
    }

  private:
    Numbers mean_precision_, means_, degrees_, factor_;
    bool one_;
};

Numbers bound_normal_wishart_divergence(const std::string& covariance_type, const py::tuple& q,
                                        const py::tuple& r, int num_threads) {
    const linalg::Pattern pattern = parse_pattern(covariance_type);
    const Numbers means = q[1].cast<Numbers>();
    check_shape(means, "means", {any_length, any_length});
    const py::ssize_t K = means.shape(0), D = means.shape(1);
    const Distributions left(q, pattern, K, D), right(r, pattern, K, D);
    Numbers result(K);
    double* out = result.mutable_data();
    without_gil([&](const runtime::Interrupt* interrupt) {
        linalg::normal_wishart_divergence(pattern, K, D, left.pointers(), right.pointers(), out,
                                          num_threads, interrupt);
    });
    return result;
}

Numbers bound_expected_log_density(const std::string& covariance_type, const py::tuple& q,
                                   int num_threads) {
    const linalg::Pattern pattern = parse_pattern(covariance_type);
    const Numbers means = q[1].cast<Numbers>();
    check_shape(means, "means", {any_length, any_length});
    const py::ssize_t K = means.shape(0), D = means.shape(1);
    const Distributions distributions(q, pattern, K, D);
    Numbers result(K);
    double* out = result.mutable_data();
    without_gil([&](const runtime::Interrupt* interrupt) {
        linalg::expected_log_density(pattern, K, D, distributions.pointers(), out, num_threads,
                                     interrupt);
    });
    return result;
}

Numbers bound_expected_log_det(const std::string& covariance_type, py::ssize_t n_features,
                               const Numbers& degrees_of_freedom, const Numbers& factor,
                               int num_threads) {
    const linalg::Pattern pattern = parse_pattern(covariance_type);
    const py::ssize_t n = degrees_of_freedom.size();
    if (degrees_of_freedom.ndim() != (pattern == linalg::Pattern::tied ? 0 : 1))
        throw py::value_error("degrees_of_freedom has the wrong number of dimensions");
    check_shape(factor, "factor", shape_of_matrices(pattern, n, n_features));
    Numbers result(shape_of_degrees(pattern, n));
    const double *degrees = degrees_of_freedom.data(), *by = factor.data();
    double* out = result.mutable_data();
    without_gil([&](const runtime::Interrupt* interrupt) {
        linalg::expected_log_det(pattern, n, n_features, degrees, by, out, num_threads, interrupt);
    });
    return result;
}

// The memory of an array of that shape; null for None.
const double* optional_numbers(const py::object& given, const char* name, const Lengths& shape,
                               Numbers& kept) {
    if (given.is_none()) return nullptr;
    kept = given.cast<Numbers>();
    check_shape(kept, name, shape);
    return kept.data();
}

py::tuple bound_gaussian_moments(const std::string& covariance_type, const Numbers& centres,
                                 const Numbers& weight, const Numbers& mass, const Numbers& first,
                                 const Numbers& second, double variance, double least_count,
                                 double empty, const py::object& previous_means,
                                 const py::object& previous_covariances, int num_threads) {
    const linalg::Pattern pattern = parse_pattern(covariance_type);
    check_shape(centres, "centres", {any_length, any_length});
    const py::ssize_t K = centres.shape(0), D = centres.shape(1);
    const Lengths matrices = shape_of_matrices(pattern, K, D);
    check_shape(weight, "weight", {K});
    check_shape(mass, "mass", {K});
    check_shape(first, "first", {K, D});
    check_shape(second, "second", matrices);
    Numbers counts(K), means({K, D}), covariances(matrices), kept[2];
    const linalg::PreviousMoments previous = {
        optional_numbers(previous_means, "previous_means", {K, D}, kept[0]),
        optional_numbers(previous_covariances, "previous_covariances", matrices, kept[1])};
    const linalg::MomentSums sums = {centres.data(), weight.data(), mass.data(), first.data(),
                                     second.data()};
    const linalg::GaussianMoments out = {counts.mutable_data(), means.mutable_data(),
                                         covariances.mutable_data()};
    without_gil([&](const runtime::Interrupt* interrupt) {
        linalg::gaussian_moments(pattern, K, D, sums, variance, least_count, empty, previous, out,
                                 num_threads, interrupt);
    });
    return py::make_tuple(counts, means, covariances);
}

Numbers bound_gaussian_offsets(const std::string& covariance_type, const Numbers& weights,
                               const Numbers& factor, py::ssize_t n_features) {
    const linalg::Pattern pattern = parse_pattern(covariance_type);
    check_shape(weights, "weights", {any_length});
    const py::ssize_t K = weights.shape(0);
    check_shape(factor, "factor", shape_of_matrices(pattern, K, n_features));
    Numbers offsets(K);
    linalg::gaussian_offsets(pattern, K, n_features, weights.data(), factor.data(),
                             offsets.mutable_data());
    return offsets;
}

bool bound_second_moments_cancel(const std::string& factor_type, const Numbers& offset,
                                 const Numbers& centres, const Numbers& factor,
                                 const std::string& second_type, const Numbers& weight,
                                 const Numbers& first, const Numbers& second, const Numbers& floor,
                                 double tolerated, double reach) {
    const linalg::Pattern of_factor = parse_pattern(factor_type);
    const linalg::Pattern of_second = parse_pattern(second_type);
    check_shape(centres, "centres", {any_length, any_length});
    const py::ssize_t K = centres.shape(0), D = centres.shape(1);
    check_shape(offset, "offset", {K});
    check_shape(factor, "factor", shape_of_matrices(of_factor, K, D));
    check_shape(weight, "weight", {K});
    check_shape(first, "first", {K, D});
    check_shape(second, "second", shape_of_matrices(of_second, K, D));
    const py::ssize_t rows = of_second == linalg::Pattern::tied ? 1 : K;
    check_shape(floor, "floor", {any_length, any_length});
    if ((floor.shape(0) != rows && floor.shape(0) != 1) ||
        (floor.shape(1) != D && floor.shape(1) != 1))
        throw py::value_error("floor must broadcast against the variances");
    const linalg::ShiftedMoments moments = {K,
                                            D,
                                            offset.data(),
                                            centres.data(),
                                            of_factor,
                                            factor.data(),
                                            of_second,
                                            weight.data(),
                                            first.data(),
                                            second.data(),
                                            floor.data(),
                                            floor.shape(0) > 1 ? floor.shape(1) : 0,
                                            floor.shape(1) > 1 ? 1 : 0};
    return without_gil([&](const runtime::Interrupt*) {
        return linalg::second_moments_cancel(moments, tolerated, reach);
    });
}

// A function of numbers as one of arrays, which broadcast.
template <class... Doubles>
auto elementwise(double (*function)(Doubles...)) {
    return [function](const std::conditional_t<true, Numbers, Doubles>&... arguments) {
        constexpr std::size_t n = sizeof...(Doubles);
        const py::object broadcast = py::module_::import("numpy").attr("broadcast_arrays");
        const py::sequence alike = broadcast(arguments...);
        std::array<Numbers, n> arrays;
        std::array<const double*, n> in{};
        for (std::size_t i = 0; i < n; ++i) {
            arrays[i] = alike[i].template cast<Numbers>();
            in[i] = arrays[i].data();
        }
        py::array_t<double> out(Lengths(arrays[0].shape(), arrays[0].shape() + arrays[0].ndim()));
        double* values = out.mutable_data();
        for (py::ssize_t i = 0; i < out.size(); ++i)
            values[i] = std::apply([&](auto... array) { return function(array[i]...); }, in);
        return out;
    };
}

}  // namespace

void register_posteriors(py::module_& module) {
    using py::arg;
    module.def("log1p_less_argument", elementwise(linalg::log1p_less_argument), arg("x"));
    module.def("itakura_saito", elementwise(linalg::itakura_saito), arg("x"), arg("y"),
               arg("step"));
    module.def("log_ratio", elementwise(linalg::log_ratio), arg("x"), arg("step"));
    module.def("digamma_less_log", elementwise(linalg::digamma_less_log), arg("x"));
    module.def("log_gamma_increment", elementwise(linalg::log_gamma_increment), arg("x"),
               arg("step"));
    module.def("log_gamma_divergence", elementwise(linalg::log_gamma_divergence), arg("x"),
               arg("step"));
    module.def("dirichlet_expected_log", bound_dirichlet_expected_log, arg("concentration"));
    module.def("dirichlet_log_evidence", bound_dirichlet_log_evidence, arg("prior_concentration"),
               arg("counts"));
    module.def("stick_expected_log", bound_stick_expected_log, arg("taken"), arg("left"));
    module.def("stick_log_evidence", bound_stick_log_evidence, arg("gamma"), arg("rows"),
               arg("later"));
    module.def("normal_wishart_posterior", bound_normal_wishart_posterior, arg("covariance_type"),
               arg("prior_mean_precision"), arg("prior_mean"), arg("prior_degrees_of_freedom"),
               arg("prior_covariance"), arg("centres"), arg("weight"), arg("mass"), arg("first"),
               arg("second"), arg("variance"), arg("least_count"), arg("num_threads"),
               "Mean precisions, means, degrees of freedom, covariances and factors, and the first "
               "component that is not positive definite, or -1.");
    module.def("normal_wishart_divergence", bound_normal_wishart_divergence, arg("covariance_type"),
               arg("q"), arg("r"), arg("num_threads"),
               "KL(q || r) of each component, of mean precisions, means, degrees and factors.");
    module.def("gaussian_moments", bound_gaussian_moments, arg("covariance_type"), arg("centres"),
               arg("weight"), arg("mass"), arg("first"), arg("second"), arg("variance"),
               arg("least_count"), arg("empty"), arg("previous_means"), arg("previous_covariances"),
               arg("num_threads"), "Counts, means and covariances of most likelihood.");
    module.def("gaussian_offsets", bound_gaussian_offsets, arg("covariance_type"), arg("weights"),
               arg("factor"), arg("n_features"), "The log-joint of each component at its mean.");
    module.def("second_moments_cancel", bound_second_moments_cancel, arg("factor_type"),
               arg("offset"), arg("centres"), arg("factor"), arg("second_type"), arg("weight"),
               arg("first"), arg("second"), arg("floor"), arg("tolerated"), arg("reach"),
               "Whether moving second moments to the rows' means would lose too many digits.");
    module.def("expected_log_density", bound_expected_log_density, arg("covariance_type"), arg("q"),
               arg("num_threads"), "That of each component, at its mean.");
    module.def("expected_log_det", bound_expected_log_det, arg("covariance_type"),
               arg("n_features"), arg("degrees_of_freedom"), arg("factor"), arg("num_threads"));
}

}  // namespace vbfast::python
