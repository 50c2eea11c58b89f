#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <string>

#include "estep.h"
#include "interrupt.h"
#include "seeding.h"

namespace py = pybind11;

namespace vbfast {

namespace {

using Float64 = py::array_t<double, py::array::c_style>;

template <class E>
E parse(const std::map<std::string, E>& values, const std::string& name, const char* what) {
    const auto found = values.find(name);
    if (found == values.end()) throw py::value_error(std::string(what) + ": " + name);
    return found->second;
}

const std::map<std::string, Covariance> of_covariance = {{"full", Covariance::full},
                                                         {"tied", Covariance::tied},
                                                         {"diag", Covariance::diag},
                                                         {"spherical", Covariance::spherical}};
const std::map<std::string, Moments> of_moments = {
    {"none", Moments::none}, {"means", Moments::means}, {"spherical", Moments::spherical},
    {"diag", Moments::diag}, {"tied", Moments::tied},   {"full", Moments::full}};
const std::map<std::string, Assignment> of_assignment = {
    {"posterior", Assignment::posterior}, {"hard", Assignment::hard}, {"given", Assignment::given}};

// The kernels divide by both lengths.
void check_not_empty(const Float64& rows, const char* name) {
    if (rows.ndim() != 2 || rows.shape(0) == 0 || rows.shape(1) == 0)
        throw py::value_error(std::string(name) + " must have two axes, neither of length zero");
}

// Writable memory of an output array, or null for None.
void* output(const py::object& array) {
    return array.is_none() ? nullptr : py::array(array).mutable_data();
}

// (partition, start, rows, weights or None, given or None[, closest, lowered or None])
Block as_block(const py::tuple& item) {
    Block block{};
    block.partition = item[0].cast<std::int64_t>();
    block.start = item[1].cast<std::int64_t>();
    const py::array rows = item[2].cast<py::array>();
    block.rows = rows.data();
    block.n_rows = rows.shape(0);
    block.row_stride = rows.strides(0);
    block.feature_stride = rows.strides(1);
    if (!item[3].is_none()) block.weights = item[3].cast<Float64>().data();
    if (!item[4].is_none()) {
        const py::array given = item[4].cast<py::array>();
        if (given.ndim() == 1)
            block.given_label = static_cast<const std::int64_t*>(given.data());
        else
            block.given = given.data();
    }
    if (item.size() > 5) {
        block.closest = item[5].cast<py::array>().data();
        if (!item[6].is_none()) {
            py::array lowered = item[6].cast<py::array>();
            block.lowered = lowered.mutable_data();
            block.lowered_stride = lowered.strides(0) / lowered.itemsize();
        }
    }
    return block;
}

// Returns the row that is not finite, or -1. The list keeps the arrays alive meanwhile.
template <class Pass>
std::int64_t run_blocks(Pass& pass, const py::list& items, int num_threads) {
    std::vector<Block> blocks;
    for (const py::handle item : items) blocks.push_back(as_block(item.cast<py::tuple>()));
    PassOutcome outcome;
    {
        const py::gil_scoped_release release;
        outcome = pass.run(blocks, num_threads, &python_interrupt);
    }
    if (outcome.status == PassStatus::interrupted) throw py::error_already_set();
    return outcome.row;
}

// A pass with the arrays that it writes to and the memory that it works in.
class BoundEStep {
  public:
    BoundEStep(const std::string& covariance, const Float64& offset, const Float64& means,
               const Float64& factors, const std::string& assignment, const std::string& kind,
               bool entropy, bool single, std::int64_t n_partitions, std::int64_t tile_rows,
               bool split_components, py::tuple outputs, py::object workspace, int num_threads)
        : outputs_(std::move(outputs)), workspace_(std::move(workspace)) {
        check_not_empty(means, "means");
        const MixtureParameters parameters = {parse(of_covariance, covariance, "covariance"),
                                              means.shape(0),
                                              means.shape(1),
                                              offset.data(),
                                              means.data(),
                                              factors.data()};
        kind_ = parse(of_moments, kind, "moments");
        n_components_ = means.shape(0);
        n_features_ = means.shape(1);
        const PassRequest request = {parse(of_assignment, assignment, "assignment"),
                                     kind_,
                                     entropy,
                                     n_partitions,
                                     tile_rows,
                                     split_components,
                                     output(outputs_[0]),
                                     static_cast<std::int64_t*>(output(outputs_[1])),
                                     output(outputs_[2]),
                                     output(outputs_[3]),
                                     output(outputs_[4]),
                                     output(outputs_[5]),
                                     output(outputs_[6])};
        Workspace& memory = workspace_.cast<Workspace&>();
        estep_ = single ? make_estep<float>(parameters, request, memory, num_threads)
                        : make_estep<double>(parameters, request, memory, num_threads);
    }

    std::int64_t run(const py::list& blocks, int num_threads) {
        return run_blocks(*estep_, blocks, num_threads);
    }

    py::tuple sums() const {
        const TileSums s = estep_->sums();
        return py::make_tuple(s.weight, s.log_evidence, s.expected_log_joint, s.entropy, s.kl,
                              s.lowest_log_evidence);
    }

    py::tuple statistics(int num_threads) {
        const py::ssize_t K = n_components_, D = n_features_;
        std::vector<py::ssize_t> shape;
        if (kind_ == Moments::full) shape = {K, D, D};
        if (kind_ == Moments::tied) shape = {D, D};
        if (kind_ == Moments::diag) shape = {K, D};
        if (kind_ == Moments::spherical) shape = {K};
        py::array_t<double> weight(K), first({K, D}), second(shape);
        double* pointers[3] = {weight.mutable_data(), first.mutable_data(), second.mutable_data()};
        {
            const py::gil_scoped_release release;
            estep_->statistics(pointers[0], pointers[1], pointers[2], num_threads);
        }
        py::object second_or_none = py::none();
        if (kind_ != Moments::means) second_or_none = second;
        return py::make_tuple(weight, first, second_or_none);
    }

  private:
    py::tuple outputs_;
    py::object workspace_;
    Moments kind_;
    py::ssize_t n_components_;
    py::ssize_t n_features_;
    std::unique_ptr<EStep> estep_;
};

class BoundSeeding {
  public:
    BoundSeeding(const Float64& candidates, bool single, std::int64_t n_partitions,
                 std::int64_t tile_rows) {
        check_not_empty(candidates, "candidates");
        const auto make = single ? make_seeding<float> : make_seeding<double>;
        seeding_ = make(candidates.data(), candidates.shape(0), candidates.shape(1), n_partitions,
                        tile_rows);
    }

    std::int64_t run(const py::list& blocks, int num_threads) {
        return run_blocks(*seeding_, blocks, num_threads);
    }

    py::array_t<double> potentials() const {
        const std::vector<double> values = seeding_->potentials();
        return py::array_t<double>(static_cast<py::ssize_t>(values.size()), values.data());
    }

  private:
    std::unique_ptr<Seeding> seeding_;
};

}  // namespace

void register_estep(py::module_& module) {
    using py::arg;
    py::class_<Workspace>(module, "Workspace", "Memory that the passes of one fit use again.")
        .def(py::init<>());
    py::class_<BoundEStep>(module, "EStep", "One pass over the rows of a mixture.")
        .def(py::init<const std::string&, const Float64&, const Float64&, const Float64&,
                      const std::string&, const std::string&, bool, bool, std::int64_t,
                      std::int64_t, bool, py::tuple, py::object, int>(),
             arg("covariance_type"), arg("offset"), arg("means"), arg("precision_cholesky"),
             arg("assignment"), arg("statistics"), arg("entropy"), arg("single_precision"),
             arg("n_partitions"), arg("tile_rows"), arg("split_components"), arg("outputs"),
             arg("workspace"), arg("num_threads"))
        .def("run", &BoundEStep::run, arg("blocks"), arg("num_threads"),
             "Process blocks of distinct partitions; the first row that is not finite, or -1.")
        .def("sums", &BoundEStep::sums,
             "Total weight, log evidence, expected log-joint, entropy, KL, lowest log evidence.")
        .def("statistics", &BoundEStep::statistics, arg("num_threads"),
             "Merge the partitions: weight, first and second moments about the means.");
    py::class_<BoundSeeding>(module, "Seeding", "One pass of k-means++.")
        .def(py::init<const Float64&, bool, std::int64_t, std::int64_t>(), arg("candidates"),
             arg("single_precision"), arg("n_partitions"), arg("tile_rows"))
        .def("run", &BoundSeeding::run, arg("blocks"), arg("num_threads"),
             "Process blocks; the first row that is not finite, or -1.")
        .def("potentials", &BoundSeeding::potentials, "Potential of each candidate.");
}

}  // namespace vbfast
