#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "estep/estep.h"
#include "estep/seeding.h"
#include "python/array_checks.h"
#include "python/block_reader.h"
#include "python/estep_names.h"
#include "python/interrupt.h"
#include "python/moment_arrays.h"
#include "python/pass_arguments.h"

namespace py = pybind11;

namespace vbfast::python {

namespace {

using estep::NearestBounds;
using estep::RowBlock;
using estep::Workspace;

py::ssize_t rows_of(const Float64& matrix, const char* name) {
    check_shape(matrix, name, {any_length, any_length});
    return matrix.shape(0);
}

// Returns the row that is not finite, or -1.
template <class Pass>
std::int64_t run_blocks(Pass& pass, BlockReader reader, const py::list& items, int num_threads) {
    const std::vector<RowBlock> blocks = reader.read(items);
    return without_gil([&](const runtime::Interrupt* interrupt) {
        return pass.run(blocks, num_threads, interrupt);
    });
}

// A pass with the arrays that it writes to and the memory that it works in.
class BoundEStep {
  public:
    BoundEStep(const std::string& form, const Float64& offset, const Float64& means,
               const Float64& coefficients, const std::string& assignment,
               const std::string& moments, bool entropy, bool single,
               const std::vector<std::int64_t>& partition_bounds, std::int64_t tile_rows,
               bool split_components, std::int64_t open_partitions, py::tuple outputs,
               py::object workspace, int num_threads, py::object bounds)
        : outputs_(std::move(outputs)),
          workspace_(std::move(workspace)),
          bounds_(std::move(bounds)),
          moments_(parse(kinds_of_moments, moments, "moments")),
          n_components_(rows_of(means, "means")),
          n_features_(means.shape(1)),
          n_rows_(read_bounds(partition_bounds).back()),
          reader_(n_components_, n_features_, single) {
        const py::ssize_t K = n_components_, D = n_features_;
        check_positive(K, "n_components");
        check_positive(D, "n_features");
        check_positive(tile_rows, "tile_rows");
        check_positive(open_partitions, "open_partitions");
        const Shaped<Form>& named = parse(forms, form, "form");
        check_shape(offset, "offset", {K});
        check_shape(coefficients, "coefficients", named.shape(K, D));
        const estep::MixtureParameters parameters = {
            named.value, K, D, offset.data(), means.data(), coefficients.data()};
        const py::dtype real = precision(single), whole = py::dtype::of<std::int64_t>();
        const estep::PassRequest request = {
            parse(assignments, assignment, "assignment"),
            moments_.value,
            entropy,
            partition_bounds,
            tile_rows,
            split_components,
            open_partitions,
            output(0, "log_evidence", {}, real),
            static_cast<std::int64_t*>(output(1, "labels", {}, whole)),
            output(2, "resp", {K}, real),
            output(3, "entropy", {}, real),
            output(4, "expected_log_joint", {}, real),
            output(5, "gradient", {D}, real),
            output(6, "log_joint", {K}, real)};
        NearestBounds* kept = bounds_.is_none() ? nullptr : &bounds_.cast<NearestBounds&>();
        if (kept != nullptr && kept->n_rows() != n_rows_)
            throw py::value_error("bounds are of " + std::to_string(kept->n_rows()) +
                                  " rows, the pass of " + std::to_string(n_rows_));
        Workspace& memory = workspace_.cast<Workspace&>();
        const auto make = single ? estep::make_estep<float> : estep::make_estep<double>;
        estep_ = without_gil([&](const runtime::Interrupt* interrupt) {
            return make(parameters, request, memory, num_threads, interrupt, kept);
        });
    }

    std::int64_t run(const py::list& blocks, int num_threads) {
        return run_blocks(*estep_, reader_, blocks, num_threads);
    }

    py::tuple sums() const {
        const estep::TileSums s = estep_->sums();
        return py::make_tuple(s.weight, s.log_evidence, s.expected_log_joint, s.entropy, s.kl,
                              s.lowest_log_evidence);
    }

    py::tuple statistics(int num_threads) {
        return moment_arrays(*estep_, moments_, n_components_, n_features_, num_threads);
    }

  private:
    void* output(std::size_t place, const char* name, std::vector<py::ssize_t> row,
                 const py::dtype& dtype) {
        return output_memory(outputs_[place], name, n_rows_, std::move(row), dtype);
    }

    py::tuple outputs_;
    py::object workspace_;
    py::object bounds_;
    Shaped<Moments> moments_;
    py::ssize_t n_components_;
    py::ssize_t n_features_;
    py::ssize_t n_rows_;
    BlockReader reader_;
    std::unique_ptr<estep::EStep> estep_;
};

class BoundSeeding {
  public:
    BoundSeeding(const Float64& candidates, bool single,
                 const std::vector<std::int64_t>& partition_bounds, std::int64_t tile_rows)
        : n_candidates_(rows_of(candidates, "candidates")),
          reader_(n_candidates_, candidates.shape(1), single) {
        const py::ssize_t K = n_candidates_, D = candidates.shape(1);
        check_positive(K, "n_candidates");
        check_positive(D, "n_features");
        check_positive(tile_rows, "tile_rows");
        const auto make = single ? estep::make_seeding<float> : estep::make_seeding<double>;
        seeding_ = make(candidates.data(), K, D, read_bounds(partition_bounds), tile_rows);
    }

    std::int64_t run(const py::list& blocks, int num_threads) {
        return run_blocks(*seeding_, reader_, blocks, num_threads);
    }

    py::array_t<double> potentials() const {
        const std::vector<double> values = seeding_->potentials();
        return py::array_t<double>(static_cast<py::ssize_t>(values.size()), values.data());
    }

  private:
    py::ssize_t n_candidates_;
    BlockReader reader_;
    std::unique_ptr<estep::Seeding> seeding_;
};

}  // namespace

void register_estep(py::module_& module) {
    using py::arg;
    py::class_<Workspace>(module, "Workspace", "Memory that the passes of one fit use again.")
        .def(py::init<>());
    py::class_<NearestBounds>(module, "NearestBounds",
                              "What passes of k-means over the same rows keep of distances.")
        .def(py::init([](std::int64_t n_rows) {
                 check_positive(n_rows, "n_rows");
                 return NearestBounds(n_rows);
             }),
             arg("n_rows"))
        .def_property_readonly(
            "met", [](const NearestBounds& bounds) { return bounds.met; },
            "The part of all blocks of centres that rows met in the last pass by bounds.");
    py::class_<BoundEStep>(module, "EStep", "One pass over the rows of a mixture.")
        .def(py::init<const std::string&, const Float64&, const Float64&, const Float64&,
                      const std::string&, const std::string&, bool, bool,
                      const std::vector<std::int64_t>&, std::int64_t, bool, std::int64_t, py::tuple,
                      py::object, int, py::object>(),
             arg("form"), arg("offset"), arg("means"), arg("coefficients"), arg("assignment"),
             arg("moments"), arg("entropy"), arg("single_precision"), arg("partition_bounds"),
             arg("tile_rows"), arg("split_components"), arg("open_partitions"), arg("outputs"),
             arg("workspace"), arg("num_threads"), arg("bounds") = py::none())
        .def("run", &BoundEStep::run, arg("blocks"), arg("num_threads"),
             "Process blocks of distinct partitions; the first row that is not finite, or -1.")
        .def("sums", &BoundEStep::sums,
             "Total weight, log evidence, expected log-joint, entropy, KL, lowest log evidence.")
        .def("statistics", &BoundEStep::statistics, arg("num_threads"),
             "Merge the partitions: weight, first and second moments about the means.");
    py::class_<BoundSeeding>(module, "Seeding", "One pass of k-means++.")
        .def(py::init<const Float64&, bool, const std::vector<std::int64_t>&, std::int64_t>(),
             arg("candidates"), arg("single_precision"), arg("partition_bounds"), arg("tile_rows"))
        .def("run", &BoundSeeding::run, arg("blocks"), arg("num_threads"),
             "Process blocks; the first row that is not finite, or -1.")
        .def("potentials", &BoundSeeding::potentials, "Potential of each candidate.");
}

}  // namespace vbfast::python
