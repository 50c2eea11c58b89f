#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>

#include "cuda/estep.h"
#include "cuda/python/device_array.h"
#include "cuda/seeding_pass.h"
#include "python/array_checks.h"
#include "python/estep_names.h"
#include "python/interrupt.h"
#include "python/pass_arguments.h"

namespace py = pybind11;

namespace vbfast::cuda {

namespace {

using namespace vbfast::python;

using estep::Moments;

HostRows host_rows(const py::array& rows) {
    return {rows.data(), rows.shape(0), rows.shape(1), rows.strides(0), rows.strides(1)};
}

void check_rows(const py::array& rows, std::int64_t n_features, const py::dtype& dtype) {
    check_shape(rows, "rows", {any_length, n_features});
    check_dtype(rows, "rows", dtype);
    if (!(rows.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
        throw py::value_error("rows must be aligned");
}

// Calls f(interrupt) without the GIL.
template <class F>
auto released(F&& f) {
    try {
        GilRelease release;
        const runtime::Interrupt interrupt = release.interrupt();
        return f([&] { return interrupt.requested(interrupt.context); });
    } catch (const Interrupted&) {
        throw py::error_already_set();
    }
}

std::unique_ptr<DeviceRows> copy_to_device(const py::array& rows) {
    check_shape(rows, "rows", {any_length, any_length});
    const bool single = rows.dtype().equal(py::dtype::of<float>());
    check_rows(rows, rows.shape(1), precision(single));
    const HostRows host = host_rows(rows);
    py::gil_scoped_release release;
    return single ? make_device_rows<float>(host) : make_device_rows<double>(host);
}

// Rows of unit stride between features, without a copy.
std::unique_ptr<DeviceRows> borrow_rows(const DeviceArray& rows, const CallStream& stream) {
    const std::int64_t size = rows.item_bytes();
    if (rows.shape.size() != 2 || (rows.shape[1] > 1 && rows.strides[1] != size))
        throw py::value_error("rows on the device must be 2-d, with features side by side");
    const std::int64_t n = rows.shape[0], D = rows.shape[1], row_stride = rows.strides[0] / size;
    const py::gil_scoped_release release;
    const DeviceGuard guard(stream.device());
    if (rows.is_double)
        return borrow_device_rows(reinterpret_cast<const double*>(rows.data), n, D, row_stride,
                                  rows.owner, stream.stream());
    return borrow_device_rows(reinterpret_cast<const float*>(rows.data), n, D, row_stride,
                              rows.owner, stream.stream());
}

py::array host_array(const DeviceRows& rows, std::int64_t count) {
    return py::array(precision(rows.single), std::vector<py::ssize_t>{count, rows.n_features});
}

py::array read_rows(const DeviceRows& rows, std::int64_t start, std::int64_t stop) {
    if (start < 0 || start > stop || stop > rows.n_rows)
        throw py::index_error("rows " + std::to_string(start) + " to " + std::to_string(stop) +
                              " of " + std::to_string(rows.n_rows));
    py::array out = host_array(rows, stop - start);
    void* const to = out.mutable_data();
    const py::gil_scoped_release release;
    rows.read(start, stop - start, to);
    return out;
}

py::array take_rows(const DeviceRows& rows, const py::array_t<std::int64_t>& indices) {
    check_shape(indices, "indices", {any_length});
    const std::int64_t* first = indices.data();
    const std::int64_t count = indices.shape(0);
    if (std::any_of(first, first + count,
                    [n = rows.n_rows](std::int64_t i) { return i < 0 || i >= n; }))
        throw py::index_error("an index is not in 0.." + std::to_string(rows.n_rows - 1));
    py::array out = host_array(rows, count);
    void* const to = out.mutable_data();
    const py::gil_scoped_release release;
    rows.take(first, count, to);
    return out;
}

// Reads the blocks of a pass, checks that they fit it, and keeps their arrays until they have run.
class BlockReader {
  public:
    BlockReader(std::int64_t n_components, std::int64_t n_features, bool single)
        : n_components_(n_components), n_features_(n_features), dtype_(precision(single)) {}

    // (start, rows, weights or None, given or None); rows with an attribute `on_device` are there.
    Block read(const py::tuple& item) {
        Block block{};
        block.start = item[0].cast<std::int64_t>();
        const py::array rows = keep(item[1].cast<py::array>());
        check_rows(rows, n_features_, dtype_);
        block.host = host_rows(rows);
        const py::object device = py::getattr(item[1], "on_device", py::none());
        if (!device.is_none()) block.device = &device.cast<const DeviceRows&>();
        const py::ssize_t n_rows = rows.shape(0);
        if (!item[2].is_none()) {
            const py::array weights = keep(item[2].cast<py::array>());
            check_packed(weights, "weights", {n_rows}, py::dtype::of<double>());
            block.weights = static_cast<const double*>(weights.data());
        }
        if (!item[3].is_none()) read_given(keep(item[3].cast<py::array>()), n_rows, block);
        return block;
    }

    std::vector<Block> read_all(const py::list& items) {
        std::vector<Block> blocks;
        for (const py::handle item : items) blocks.push_back(read(item.cast<py::tuple>()));
        return blocks;
    }

    const py::dtype& dtype() const { return dtype_; }

  private:
    py::array keep(const py::array& a) {
        kept_.push_back(a);
        return a;
    }

    void read_given(const py::array& given, py::ssize_t n_rows, Block& block) const {
        if (given.ndim() != 1) {
            check_packed(given, "responsibilities", {n_rows, n_components_}, dtype_);
            block.given = given.data();
            return;
        }
        block.given_label = read_labels(given, n_rows, n_components_);
    }

    const std::int64_t n_components_, n_features_;
    const py::dtype dtype_;
    std::vector<py::array> kept_;
};

// A pass with the arrays that it writes to.
class BoundEStep {
  public:
    BoundEStep(const std::string& form, const Float64& offset, const Float64& means,
               const Float64& coefficients, const std::string& assignment,
               const std::string& moments, bool entropy, bool single,
               const std::vector<std::int64_t>& partition_bounds, py::tuple outputs,
               std::shared_ptr<Workspace> workspace, std::optional<bool> tensor_cores)
        : outputs_(std::move(outputs)),
          moments_(parse(kinds_of_moments, moments, "moments")),
          reader_(means.shape(0), means.shape(1), single) {
        check_shape(means, "means", {any_length, any_length});
        K_ = means.shape(0);
        D_ = means.shape(1);
        check_positive(K_, "n_components");
        check_positive(D_, "n_features");
        const Shaped<estep::Form>& named = parse(forms, form, "form");
        check_shape(offset, "offset", {K_});
        check_shape(coefficients, "coefficients", named.shape(K_, D_));
        const estep::MixtureParameters parameters = {
            named.value, K_, D_, offset.data(), means.data(), coefficients.data()};
        estep::PassRequest request{};
        request.assignment = parse(assignments, assignment, "assignment");
        request.moments = moments_.value;
        request.entropy = entropy;
        request.bounds = read_bounds(partition_bounds);
        n_rows_ = request.bounds.back();
        const py::dtype real = precision(single), whole = py::dtype::of<std::int64_t>();
        request.log_evidence = output(0, "log_evidence", {}, real);
        request.labels = static_cast<std::int64_t*>(output(1, "labels", {}, whole));
        request.resp = output(2, "resp", {K_}, real);
        request.row_entropy = output(3, "entropy", {}, real);
        request.expected_log_joint = output(4, "expected_log_joint", {}, real);
        request.gradient = output(5, "gradient", {D_}, real);
        request.log_joint = output(6, "log_joint", {K_}, real);
        const auto make = single ? make_estep<float> : make_estep<double>;
        py::gil_scoped_release release;
        estep_ = make(parameters, request, std::move(workspace), tensor_cores);
    }

    // The first row that is not finite, or -1; and the rows whose every log-joint overflows.
    py::tuple run(const py::list& items) {
        BlockReader reader = reader_;
        const std::vector<Block> blocks = reader.read_all(items);
        const RunFound found =
            released([&](const Interrupt& interrupt) { return estep_->run(blocks, interrupt); });
        const py::array_t<std::int64_t> impossible(
            static_cast<py::ssize_t>(found.impossible.size()), found.impossible.data());
        return py::make_tuple(found.first_bad, impossible);
    }

    py::tuple sums() {
        const RowSums s = estep_->sums();
        return py::make_tuple(s.weight, s.log_evidence, s.expected_log_joint, s.entropy, s.kl,
                              s.lowest_log_evidence);
    }

    py::tuple statistics() {
        if (moments_.value == Moments::none)
            throw py::value_error("the pass adds up no statistics");
        py::array_t<double> weight(K_), first({K_, D_}), second(moments_.shape(K_, D_));
        double* pointers[3] = {weight.mutable_data(), first.mutable_data(), second.mutable_data()};
        {
            py::gil_scoped_release release;
            estep_->statistics(pointers[0], pointers[1], pointers[2]);
        }
        py::object second_or_none = py::none();
        if (second.ndim() > 0) second_or_none = second;
        return py::make_tuple(weight, first, second_or_none);
    }

  private:
    void* output(std::size_t place, const char* name, std::vector<py::ssize_t> row,
                 const py::dtype& dtype) {
        return output_memory(outputs_[place], name, n_rows_, std::move(row), dtype);
    }

    py::tuple outputs_;
    Shaped<Moments> moments_;
    py::ssize_t K_ = 0, D_ = 0, n_rows_ = 0;
    BlockReader reader_;
    std::unique_ptr<EStep> estep_;
};

class BoundSeeding {
  public:
    BoundSeeding(const Float64& candidates, bool single,
                 const std::vector<std::int64_t>& partition_bounds,
                 std::shared_ptr<Workspace> workspace)
        : reader_(candidates.shape(0), candidates.shape(1), single), L_(candidates.shape(0)) {
        check_positive(L_, "n_candidates");
        check_positive(candidates.shape(1), "n_features");
        const auto make = single ? make_seeding<float> : make_seeding<double>;
        seeding_ = make(candidates.data(), L_, candidates.shape(1), read_bounds(partition_bounds),
                        std::move(workspace));
    }

    // (start, rows, weights or None, None, closest, lowered or None)
    std::int64_t run(const py::list& items) {
        BlockReader reader = reader_;
        std::vector<py::array> kept;
        std::vector<Block> blocks = reader.read_all(items);
        for (std::size_t i = 0; i < blocks.size(); ++i)
            read_distances(items[i].cast<py::tuple>(), reader.dtype(), kept, blocks[i]);
        return released(
            [&](const Interrupt& interrupt) { return seeding_->run(blocks, interrupt); });
    }

    py::array_t<double> potentials() const {
        const std::vector<double> values = seeding_->potentials();
        return py::array_t<double>(static_cast<py::ssize_t>(values.size()), values.data());
    }

  private:
    void read_distances(const py::tuple& item, const py::dtype& dtype, std::vector<py::array>& kept,
                        Block& block) const {
        const py::ssize_t n_rows = block.host.n_rows;
        kept.push_back(item[4].cast<py::array>());
        check_packed(kept.back(), "closest", {n_rows}, dtype);
        block.closest = kept.back().data();
        if (item[5].is_none()) return;
        kept.push_back(item[5].cast<py::array>());
        py::array& lowered = kept.back();
        check_shape(lowered, "lowered", {L_, n_rows});
        check_dtype(lowered, "lowered", dtype);
        if ((n_rows > 1 && lowered.strides(1) != lowered.itemsize()) ||
            lowered.strides(0) % lowered.itemsize() != 0)
            throw py::value_error("the rows of lowered must be contiguous");
        if (!lowered.writeable()) throw py::value_error("lowered must be writable");
        block.lowered = lowered.mutable_data();
        block.lowered_stride = lowered.strides(0) / lowered.itemsize();
    }

    BlockReader reader_;
    py::ssize_t L_;
    std::unique_ptr<Seeding> seeding_;
};

}  // namespace

void register_estep(py::module_& module) {
    using py::arg;
    py::class_<Workspace, std::shared_ptr<Workspace>>(
        module, "Workspace", "Device memory that the passes of one fit use again.")
        .def(py::init<>(), py::call_guard<py::gil_scoped_release>());
    py::class_<DeviceRows>(module, "DeviceRows", "Rows on the device.")
        .def(py::init(&copy_to_device), arg("rows"), "Copy rows there.")
        .def_static("borrow", &borrow_rows, arg("rows"), arg("stream"),
                    "Rows that are there already, a DeviceArray that is kept.")
        .def("read", &read_rows, arg("start"), arg("stop"), "Copy consecutive rows to the host.")
        .def("take", &take_rows, arg("indices"), "Copy a few rows to the host.");
    py::class_<BoundEStep>(module, "EStep", "One pass over the rows of a mixture.")
        .def(py::init<const std::string&, const Float64&, const Float64&, const Float64&,
                      const std::string&, const std::string&, bool, bool,
                      const std::vector<std::int64_t>&, py::tuple, std::shared_ptr<Workspace>,
                      std::optional<bool>>(),
             arg("form"), arg("offset"), arg("means"), arg("coefficients"), arg("assignment"),
             arg("moments"), arg("entropy"), arg("single_precision"), arg("partition_bounds"),
             arg("outputs"), arg("workspace"), arg("tensor_cores") = py::none(),
             "Tensor cores are used where they are the faster ones, or as `tensor_cores` says.")
        .def("run", &BoundEStep::run, arg("blocks"),
             "Process blocks of distinct partitions; the first row that is not finite, or -1, and "
             "the rows whose every log-joint overflows.")
        .def("sums", &BoundEStep::sums,
             "Total weight, log evidence, expected log-joint, entropy, KL, lowest log evidence.")
        .def("statistics", &BoundEStep::statistics,
             "Merge the partitions: weight, first and second moments about the means.");
    py::class_<BoundSeeding>(module, "Seeding", "One pass of k-means++.")
        .def(py::init<const Float64&, bool, const std::vector<std::int64_t>&,
                      std::shared_ptr<Workspace>>(),
             arg("candidates"), arg("single_precision"), arg("partition_bounds"), arg("workspace"))
        .def("run", &BoundSeeding::run, arg("blocks"),
             "Process blocks; the first row that is not finite, or -1.")
        .def("potentials", &BoundSeeding::potentials, "Potential of each candidate.");
}

}  // namespace vbfast::cuda
