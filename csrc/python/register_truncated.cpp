#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <memory>
#include <string>

#include "estep/truncated.h"
#include "python/array_checks.h"
#include "python/estep_names.h"
#include "python/interrupt.h"
#include "python/moment_arrays.h"

namespace py = pybind11;

namespace vbfast::python {

namespace {

// A pass with the arrays that it reads while it lasts.
class BoundTruncatedPass {
  public:
    BoundTruncatedPass(const std::string& form, const Float64& offset, const Float64& centres,
                       const Float64& coefficients, const std::string& assignment,
                       const std::string& moments, bool entropy, bool single, std::int64_t n_kept,
                       py::object neighbors, std::int64_t n_neighbors, py::object candidates,
                       py::object cells, std::int64_t n_random, std::uint64_t key, bool learn,
                       py::object about, py::object workspace, int num_threads)
        : neighbors_(std::move(neighbors)),
          candidates_(std::move(candidates)),
          cells_(std::move(cells)),
          workspace_(std::move(workspace)),
          moments_(parse(kinds_of_moments, moments, "moments")),
          dtype_(precision(single)),
          n_kept_(n_kept),
          n_neighbors_(n_neighbors) {
        check_shape(centres, "centres", {any_length, any_length});
        n_components_ = centres.shape(0);
        n_features_ = centres.shape(1);
        const py::ssize_t K = n_components_, D = n_features_;
        check_positive(K, "n_components");
        check_positive(D, "n_features");
        check_positive(n_kept, "n_kept");
        check_positive(n_neighbors, "n_neighbors");
        if (n_random < 0) throw py::value_error("n_random must not be negative");
        const Shaped<Form>& named = parse(forms, form, "form");
        check_shape(offset, "offset", {K});
        check_shape(coefficients, "coefficients", named.shape(K, D));
        const estep::MixtureParameters parameters = {
            named.value, K, D, offset.data(), centres.data(), coefficients.data()};
        const Assignment how = parse(assignments, assignment, "assignment");
        if (how == Assignment::given) throw py::value_error("assignment: given");
        estep::TruncatedRequest request{};
        request.assignment = how;
        request.moments = moments_.value;
        request.entropy = entropy;
        request.n_kept = n_kept;
        request.n_neighbors = n_neighbors;
        request.n_random = n_random;
        request.key = key;
        request.neighbors = components(neighbors_, "neighbors", {K, n_neighbors_}, -1);
        request.candidates = components(candidates_, "candidates", {any_length}, 0);
        if (request.candidates) request.n_candidates = candidates_.cast<py::array>().shape(0);
        if (!cells_.is_none()) read_cells(cells_.cast<py::tuple>(), request);
        request.learn = learn;
        Float64 centre;
        if (!about.is_none()) {
            centre = about.cast<Float64>();
            check_shape(centre, "about", {K, D});
            request.about = centre.data();
        }
        auto& memory = workspace_.cast<estep::Workspace&>();
        const auto make =
            single ? estep::make_truncated_pass<float> : estep::make_truncated_pass<double>;
        pass_ = without_gil([&](const runtime::Interrupt* interrupt) {
            return make(parameters, request, memory, num_threads, interrupt);
        });
    }

    std::int64_t run(std::int64_t start, const py::array& rows, const py::object& weights,
                     py::array kept, const py::object& log_evidence, const py::object& resp,
                     int num_threads) {
        check_shape(rows, "rows", {any_length, n_features_});
        check_dtype(rows, "rows", dtype_);
        if (rows.shape(0) >= std::int64_t(1) << 31)
            throw py::value_error("rows must be fewer than 2^31 at a time");
        estep::TruncatedRows block{};
        block.start = start;
        block.n_rows = rows.shape(0);
        block.at = {static_cast<const char*>(rows.data()), rows.strides(0), rows.strides(1)};
        check_packed(kept, "kept", {block.n_rows, n_kept_}, py::dtype::of<std::int32_t>());
        block.kept = static_cast<std::int32_t*>(kept.mutable_data());
        check_components(block.kept, kept.size(), "kept", -1);
        if (!weights.is_none()) {
            const auto array = weights.cast<py::array>();
            check_packed(array, "weights", {block.n_rows}, py::dtype::of<double>());
            block.weights = static_cast<const double*>(array.data());
        }
        block.log_evidence = output(log_evidence, "log_evidence", {block.n_rows});
        block.resp = output(resp, "resp", {block.n_rows, n_kept_});
        return without_gil([&](const runtime::Interrupt* interrupt) {
            return pass_->run(block, num_threads, interrupt);
        });
    }

    py::tuple sums() const {
        const estep::TileSums s = pass_->sums();
        return py::make_tuple(s.weight, s.log_evidence, s.expected_log_joint, s.entropy,
                              s.lowest_log_evidence);
    }

    py::tuple statistics(int num_threads) {
        return moment_arrays(*pass_, moments_, n_components_, n_features_, num_threads);
    }

    py::tuple learned() const {
        const std::vector<py::ssize_t> shape{n_components_, n_neighbors_};
        py::array_t<std::int32_t> components(shape);
        py::array_t<std::int64_t> counts(shape);
        py::array_t<double> sums(shape);
        std::fill_n(components.mutable_data(), components.size(), -1);
        std::fill_n(counts.mutable_data(), counts.size(), 0);
        std::fill_n(sums.mutable_data(), sums.size(), 0.0);
        pass_->learned(components.mutable_data(), counts.mutable_data(), sums.mutable_data());
        return py::make_tuple(components, counts, sums);
    }

  private:
    void check_components(const std::int32_t* values, py::ssize_t n, const char* name,
                          std::int32_t least) const {
        const auto outside = [least, K = n_components_](std::int32_t k) {
            return k < least || k >= K;
        };
        if (std::any_of(values, values + n, outside))
            throw py::value_error(std::string(name) + " must be in " + std::to_string(least) +
                                  ".." + std::to_string(n_components_ - 1));
    }

    // The memory of an array of components, or null for None.
    const std::int32_t* components(const py::object& given, const char* name,
                                   const std::vector<py::ssize_t>& shape,
                                   std::int32_t least) const {
        if (given.is_none()) return nullptr;
        const auto array = given.cast<py::array>();
        check_shape(array, name, shape);
        check_packed(array, name, {array.shape(), array.shape() + array.ndim()},
                     py::dtype::of<std::int32_t>());
        const auto* values = static_cast<const std::int32_t*>(array.data());
        check_components(values, array.size(), name, least);
        return values;
    }

    void read_cells(const py::tuple& cells, estep::TruncatedRequest& request) const {
        const py::array begin = cells[0].cast<py::array>();
        check_packed(begin, "cells.begin", {n_components_ + 1}, py::dtype::of<std::int64_t>());
        request.cell_begin = static_cast<const std::int64_t*>(begin.data());
        const std::int64_t* end = request.cell_begin + n_components_;
        if (*request.cell_begin != 0 || !std::is_sorted(request.cell_begin, end + 1))
            throw py::value_error("cells.begin must ascend from 0");
        request.cell_members = components(cells[1], "cells.members", {*end}, 0);
    }

    void* output(const py::object& given, const char* name,
                 const std::vector<py::ssize_t>& shape) const {
        if (given.is_none()) return nullptr;
        auto array = given.cast<py::array>();
        check_packed(array, name, shape, dtype_);
        return array.mutable_data();
    }

    py::object neighbors_, candidates_, cells_, workspace_;
    const Shaped<Moments> moments_;
    const py::dtype dtype_;
    const py::ssize_t n_kept_, n_neighbors_;
    py::ssize_t n_components_, n_features_;
    std::unique_ptr<estep::TruncatedPass> pass_;
};

}  // namespace

void register_truncated(py::module_& module) {
    using py::arg;
    py::class_<BoundTruncatedPass>(module, "TruncatedPass", "One pass with truncated posteriors.")
        .def(py::init<const std::string&, const Float64&, const Float64&, const Float64&,
                      const std::string&, const std::string&, bool, bool, std::int64_t, py::object,
                      std::int64_t, py::object, py::object, std::int64_t, std::uint64_t, bool,
                      py::object, py::object, int>(),
             arg("form"), arg("offset"), arg("centres"), arg("coefficients"), arg("assignment"),
             arg("moments"), arg("entropy"), arg("single_precision"), arg("n_kept"),
             arg("neighbors"), arg("n_neighbors"), arg("candidates"), arg("cells"), arg("n_random"),
             arg("key"), arg("learn"), arg("about"), arg("workspace"), arg("num_threads"))
        .def("run", &BoundTruncatedPass::run, arg("start"), arg("rows"), arg("weights"),
             arg("kept"), arg("log_evidence"), arg("resp"), arg("num_threads"),
             "Search rows and renew what they keep; the first that is not finite, or -1.")
        .def("sums", &BoundTruncatedPass::sums,
             "Total weight, log evidence, expected log-joint, entropy, lowest log evidence.")
        .def("statistics", &BoundTruncatedPass::statistics, arg("num_threads"),
             "Weight, first and second moments about the centres.")
        .def("learned", &BoundTruncatedPass::learned,
             "Each component's nearest, of how many rows, and their sums of differences.");
}

}  // namespace vbfast::python
