#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "estep/nearest_bounds.h"
#include "loops/gaussian_iterations.h"
#include "loops/likelihood_step.h"
#include "loops/lloyd.h"
#include "loops/seeding.h"
#include "loops/variational_step.h"
#include "python/array_checks.h"
#include "python/block_reader.h"
#include "python/estep_names.h"
#include "python/interrupt.h"
#include "python/pass_arguments.h"
#include "python/patterns.h"

namespace py = pybind11;

namespace vbfast::python {

namespace {

std::vector<double> copied(const py::object& given, const char* name, const Lengths& shape) {
    const Numbers values = given.cast<Numbers>();
    check_shape(values, name, shape);
    return std::vector<double>(values.data(), values.data() + values.size());
}

py::array_t<double> array_of(const std::vector<double>& values, const Lengths& shape) {
    return py::array_t<double>(shape, values.data());
}

// Rows with the arrays that they are read from, and how their passes are blocked.
class BoundRows {
  public:
    BoundRows(const py::list& blocks, py::ssize_t n_features, bool single,
              const std::string& assignment, const std::string& moments,
              const std::vector<std::int64_t>& partition_bounds, std::int64_t tile_rows,
              bool split_components, std::int64_t open_partitions, py::object workspace)
        : n_features_(n_features),
          single_(single),
          moments_(parse(kinds_of_moments, moments, "moments").value),
          workspace_(std::move(workspace)),
          reader_(1, n_features, single) {
        check_positive(n_features, "n_features");
        check_positive(tile_rows, "tile_rows");
        check_positive(open_partitions, "open_partitions");
        request_.assignment = parse(assignments, assignment, "assignment");
        if (request_.assignment == Assignment::given)
            throw py::value_error("a loop has no given responsibilities");
        request_.moments = moments_;
        request_.bounds = read_bounds(partition_bounds);
        request_.tile_rows = tile_rows;
        request_.split_components = split_components;
        request_.open_partitions = open_partitions;
        blocks_ = reader_.read(blocks);
    }

    // Checks that a loop's passes are what these rows are for.
    void check(Assignment assignment, Moments moments, py::ssize_t n_features) const {
        if (request_.assignment != assignment || moments_ != moments)
            throw py::value_error("the rows are blocked for other passes");
        if (n_features != n_features_)
            throw py::value_error("the rows have " + std::to_string(n_features_) +
                                  " features, the parameters " + std::to_string(n_features));
    }

    loops::LoopedRows rows(int num_threads, const runtime::Interrupt* interrupt) const {
        return {blocks_,     request_, single_, workspace_.cast<estep::Workspace&>(),
                num_threads, interrupt};
    }

    py::ssize_t n_features() const { return n_features_; }
    std::int64_t n_rows() const { return request_.bounds.back(); }

  private:
    py::ssize_t n_features_;
    bool single_;
    Moments moments_;
    py::object workspace_;
    BlockReader reader_;
    estep::PassRequest request_{};
    std::vector<estep::RowBlock> blocks_;
};

py::tuple bound_move_centres(const BoundRows& bound, const Numbers& centres, double precision,
                             double tolerance, std::int64_t max_iterations,
                             const py::object& bounds, int num_threads) {
    check_shape(centres, "centres", {any_length, any_length});
    const py::ssize_t K = centres.shape(0), D = centres.shape(1);
    check_positive(K, "n_centres");
    bound.check(Assignment::hard, Moments::first, D);
    estep::NearestBounds* kept = bounds.is_none() ? nullptr : &bounds.cast<estep::NearestBounds&>();
    if (kept != nullptr && kept->n_rows() != bound.n_rows())
        throw py::value_error("bounds are of another number of rows");
    py::array_t<double> moved({K, D}, centres.data());
    double* out = moved.mutable_data();
    // Rows refer to Python's objects: they are asked for while the GIL is held.
    loops::LoopedRows rows = bound.rows(num_threads, nullptr);
    const loops::LloydEnd end = without_gil([&](const runtime::Interrupt* interrupt) {
        rows.interrupt = interrupt;
        return loops::move_centres(rows, K, D, precision, tolerance, max_iterations, kept, out);
    });
    return py::make_tuple(moved, end.iterations, end.rested, end.lost, end.bad_row);
}

py::tuple bound_choose_seeds(const BoundRows& for_one, const BoundRows& for_trials,
                             py::ssize_t n_centres, py::ssize_t n_trials, const Numbers& quantiles,
                             int num_threads) {
    check_positive(n_centres, "n_centres");
    check_positive(n_trials, "n_trials");
    check_shape(quantiles, "quantiles", {1 + (n_centres - 1) * n_trials});
    loops::LoopedRows one = for_one.rows(num_threads, nullptr);
    loops::LoopedRows trials = for_trials.rows(num_threads, nullptr);
    for (const loops::LoopedRows* rows : {&one, &trials})
        if (rows->blocks.size() != 1 || rows->blocks[0].rows != one.blocks[0].rows ||
            rows->blocks[0].n_rows != for_one.n_rows() || rows->single != one.single)
            throw py::value_error("seeds are chosen of rows in one block");
    const double* at = quantiles.data();
    const loops::Seeds seeds = without_gil([&](const runtime::Interrupt* interrupt) {
        one.interrupt = trials.interrupt = interrupt;
        return loops::choose_seeds(one, trials, for_one.n_features(), n_centres, n_trials, at);
    });
    py::array_t<std::int64_t> rows(n_centres, seeds.rows.data());
    return py::make_tuple(rows, seeds.separation, seeds.bad_row);
}

// Parameters are given in the order in which they come back.
std::unique_ptr<loops::LikelihoodStep> make_likelihood_step(const std::string& covariance_type,
                                                            const py::tuple& parameters,
                                                            double variance, double least_count,
                                                            double empty) {
    const linalg::Pattern pattern = parse_pattern(covariance_type);
    const Numbers means = parameters[1].cast<Numbers>();
    check_shape(means, "means", {any_length, any_length});
    const py::ssize_t K = means.shape(0), D = means.shape(1);
    const Lengths matrices = shape_of_matrices(pattern, K, D);
    loops::GaussianParameters start = {
        copied(parameters[0], "weights", {K}), copied(means, "means", {K, D}),
        copied(parameters[2], "covariances", matrices), copied(parameters[3], "factor", matrices),
        copied(parameters[4], "offset", {K})};
    return std::make_unique<loops::LikelihoodStep>(pattern, K, D, variance, least_count, empty,
                                                   std::move(start));
}

py::tuple parameters_of(const loops::LikelihoodStep& step) {
    const py::ssize_t K = step.n_components(), D = step.n_features();
    const Lengths matrices = shape_of_matrices(step.pattern(), K, D);
    const loops::GaussianParameters& p = step.parameters();
    return py::make_tuple(array_of(p.weights, {K}), array_of(p.means, {K, D}),
                          array_of(p.covariances, matrices), array_of(p.factor, matrices),
                          array_of(p.offset, {K}));
}

std::unique_ptr<loops::VariationalStep> make_variational_step(const std::string& covariance_type,
                                                              const py::tuple& prior,
                                                              const py::tuple& posterior,
                                                              double variance, double least_count) {
    const linalg::Pattern pattern = parse_pattern(covariance_type);
    const Numbers means = posterior[3].cast<Numbers>();
    check_shape(means, "means", {any_length, any_length});
    const py::ssize_t K = means.shape(0), D = means.shape(1);
    const Lengths matrices = shape_of_matrices(pattern, K, D);
    const Lengths one = without_components(pattern, matrices);
    loops::VariationalPrior given = {prior[0].cast<bool>(),
                                     prior[1].cast<double>(),
                                     prior[2].cast<double>(),
                                     copied(prior[3], "prior_mean", {D}),
                                     prior[4].cast<double>(),
                                     copied(prior[5], "prior_covariance", one),
                                     copied(prior[6], "prior_factor", one)};
    loops::VariationalPosterior start = {
        copied(posterior[0], "counts", {K}),
        copied(posterior[1], "expected_log", {K}),
        copied(posterior[2], "mean_precision", {K}),
        copied(means, "means", {K, D}),
        copied(posterior[4], "degrees_of_freedom", shape_of_degrees(pattern, K)),
        copied(posterior[5], "covariances", matrices),
        copied(posterior[6], "factor", matrices),
        copied(posterior[7], "offset", {K})};
    return std::make_unique<loops::VariationalStep>(pattern, K, D, std::move(given), variance,
                                                    least_count, std::move(start));
}

py::tuple posterior_of(const loops::VariationalStep& step) {
    const py::ssize_t K = step.n_components(), D = step.n_features();
    const Lengths matrices = shape_of_matrices(step.pattern(), K, D);
    const loops::VariationalPosterior& q = step.posterior();
    return py::make_tuple(array_of(q.counts, {K}), array_of(q.expected_log, {K}),
                          array_of(q.mean_precision, {K}), array_of(q.means, {K, D}),
                          array_of(q.degrees_of_freedom, shape_of_degrees(step.pattern(), K)),
                          array_of(q.covariances, matrices), array_of(q.factor, matrices),
                          array_of(q.offset, {K}));
}

Moments moments_of(linalg::Pattern pattern) {
    switch (pattern) {
        case linalg::Pattern::full:
            return Moments::full;
        case linalg::Pattern::tied:
            return Moments::pooled;
        case linalg::Pattern::diag:
            return Moments::diag;
        default:
            return Moments::spherical;
    }
}

py::tuple bound_iterate(const BoundRows& bound, loops::GaussianStep& step,
                        const std::array<double, 4>& settling,
                        const std::array<double, 3>& ordinary, std::int64_t most,
                        double lowest_log_evidence, std::vector<double> bounds, int num_threads) {
    bound.check(Assignment::posterior, moments_of(step.pattern()), step.n_features());
    loops::LoopedRows rows = bound.rows(num_threads, nullptr);
    estep::TileSums before{};
    before.lowest_log_evidence = lowest_log_evidence;
    const loops::IterationsEnd end = without_gil([&](const runtime::Interrupt* interrupt) {
        rows.interrupt = interrupt;
        return loops::iterate_gaussians(
            rows, step, {settling[0], settling[1], settling[2], settling[3]},
            {ordinary[0], ordinary[1], ordinary[2]}, most, before, bounds);
    });
    const estep::TileSums& s = end.sums;
    return py::make_tuple(bounds, end.settled, end.left,
                          py::make_tuple(s.weight, s.log_evidence, s.expected_log_joint, s.entropy,
                                         s.kl, s.lowest_log_evidence));
}

}  // namespace

void register_loops(py::module_& module) {
    using py::arg;
    py::class_<BoundRows>(module, "LoopedRows", "The rows that a loop visits again and again.")
        .def(py::init<const py::list&, py::ssize_t, bool, const std::string&, const std::string&,
                      const std::vector<std::int64_t>&, std::int64_t, bool, std::int64_t,
                      py::object>(),
             arg("blocks"), arg("n_features"), arg("single_precision"), arg("assignment"),
             arg("moments"), arg("partition_bounds"), arg("tile_rows"), arg("split_components"),
             arg("open_partitions"), arg("workspace"));
    module.def("move_centres", bound_move_centres, arg("rows"), arg("centres"), arg("precision"),
               arg("tolerance"), arg("max_iterations"), arg("bounds"), arg("num_threads"),
               "Centres, how often they moved, whether they rest, whether one has no row, and the "
               "first row that is not finite, or -1.");
    module.def(
        "choose_seeds", bound_choose_seeds, arg("for_one"), arg("for_trials"), arg("n_centres"),
        arg("n_trials"), arg("quantiles"), arg("num_threads"),
        "The rows that greedy k-means++ chooses, the least squared distance between two that "
        "differ, and the first row that is not finite, or -1.");
    py::class_<loops::GaussianStep>(module, "GaussianStep", "Parameters that a loop improves.");
    py::class_<loops::LikelihoodStep, loops::GaussianStep>(module, "LikelihoodStep",
                                                           "Those of most likelihood.")
        .def(py::init(&make_likelihood_step), arg("covariance_type"), arg("parameters"),
             arg("variance"), arg("least_count"), arg("empty"))
        .def("parameters", parameters_of, "Weights, means, covariances, factors and offsets.");
    py::class_<loops::VariationalStep, loops::GaussianStep>(module, "VariationalStep",
                                                            "A posterior.")
        .def(py::init(&make_variational_step), arg("covariance_type"), arg("prior"),
             arg("posterior"), arg("variance"), arg("least_count"))
        .def("posterior", posterior_of,
             "Counts, expected log-weights, mean precisions, means, degrees of freedom, "
             "covariances, factors and offsets.");
    module.def("iterate_gaussians", bound_iterate, arg("rows"), arg("step"), arg("settling"),
               arg("ordinary"), arg("most"), arg("lowest_log_evidence"), arg("bounds"),
               arg("num_threads"),
               "All bounds, whether they have settled, whether an iteration is out of the ordinary "
               "and left to the caller, and the sums of the last pass.");
}

}  // namespace vbfast::python
