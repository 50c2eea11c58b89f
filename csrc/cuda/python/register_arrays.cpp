// The array functions on arrays on the device: layouts and calls, as python/register_arrays.cpp has
// them for NumPy's.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <iterator>
#include <optional>
#include <string>

#include "cuda/arrays/run.h"
#include "cuda/python/device_array.h"
#include "python/bad_slice.h"

namespace py = pybind11;

namespace vbfast::cuda {

namespace {

using vbfast::arrays::Call;
using vbfast::arrays::Demand;
using vbfast::arrays::Layout;
using vbfast::arrays::Mapping;
using vbfast::arrays::Operand;
using vbfast::arrays::Outcome;
using vbfast::arrays::Reduction;
using Shape = std::vector<std::int64_t>;

// Builds the layout of operands of the shape of x.
class Builder {
  public:
    Builder(const DeviceArray& x, const std::vector<int>& axes)
        : shape_(x.shape), is_reduced_(x.shape.size(), false) {
        if (shape_.size() > static_cast<std::size_t>(vbfast::arrays::max_dimensions))
            throw py::value_error("an array has too many dimensions");
        for (const int axis : axes) is_reduced_.at(static_cast<std::size_t>(axis)) = true;
        for (std::size_t d = 0; d < shape_.size(); ++d)
            if (is_reduced_[d])
                layout.reduced[layout.n_reduced++] = shape_[d];
            else
                layout.outer[layout.n_outer++] = shape_[d];
        std::int64_t stride = 1;
        for (int d = layout.n_outer - 1; d >= 0; --d) {
            layout.operands[vbfast::arrays::place_number].outer[d] = stride;
            stride *= layout.outer[d];
        }
    }

    void sliced(int place, const DeviceArray& a) {
        if (a.shape != shape_) throw py::value_error("arrays must have one shape");
        Operand& operand = layout.operands[place];
        operand.data = a.data;
        int outer = 0, inner = 0;
        for (std::size_t d = 0; d < shape_.size(); ++d)
            (is_reduced_[d] ? operand.reduced[inner++] : operand.outer[outer++]) = a.strides[d];
    }

    // An array of one number a slice, with or without the reduced dimensions.
    void a_slice(int place, const DeviceArray& a) {
        Operand& operand = layout.operands[place];
        operand.data = a.data;
        const bool kept = a.shape.size() == shape_.size();
        std::size_t outer = 0;
        for (std::size_t d = 0; d < shape_.size(); ++d)
            if (!is_reduced_[d]) {
                operand.outer[outer] = a.strides[kept ? d : outer];
                ++outer;
            }
    }

    Shape result_shape(bool keepdims) const {
        Shape shape;
        for (std::size_t d = 0; d < shape_.size(); ++d)
            if (!is_reduced_[d] || keepdims) shape.push_back(is_reduced_[d] ? 1 : shape_[d]);
        return shape;
    }

    Layout layout;

  private:
    Shape shape_;
    std::vector<bool> is_reduced_;
};

void run(const Call& call, Builder& builder, bool is_double, double* sums, const CallStream& stream,
         const py::tuple& names) {
    Outcome outcome;
    {
        const py::gil_scoped_release release;
        const DeviceGuard guard(stream.device());
        const auto run = is_double ? arrays::run_call<double> : arrays::run_call<float>;
        outcome = run(call, builder.layout, sums, stream.stream());
    }
    if (outcome.bad_slice >= 0)
        python::raise_bad_slice(call, outcome,
                                python::slice_name(outcome.bad_slice, builder.result_shape(false)),
                                names);
}

void check_same(const DeviceArray& a, const DeviceArray& b) {
    if (a.is_double != b.is_double) throw py::value_error("arrays must have one dtype");
}

std::vector<DeviceArray> reduce_array(const CallStream& stream, int reduction, const DeviceArray& x,
                                      const std::optional<DeviceArray>& y,
                                      const std::vector<int>& axes, bool keepdims,
                                      const std::vector<int>& which, const py::tuple& names,
                                      const std::vector<double>& tolerances) {
    const DeviceGuard guard(stream.device());
    Call call;
    call.reduction = static_cast<Reduction>(reduction);
    Builder builder(x, axes);
    builder.sliced(vbfast::arrays::place_x, x);
    if (y) {
        check_same(x, *y);
        builder.sliced(vbfast::arrays::place_y, *y);
    }
    for (std::size_t k = 0; k < names.size(); ++k) {
        if (py::len(names[k]) == 0) continue;
        call.demands[k] = Demand::distribution;
        call.tolerances[k] = tolerances.at(k);
    }
    call.allow_negative = call.reduction != Reduction::scaled_sum_exp || which.size() > 1;
    std::vector<DeviceArray> results;
    for (const int result : which) {
        results.push_back(DeviceArray::empty(builder.result_shape(keepdims), x.is_double, stream));
        call.results[call.n_results] = result;
        builder.a_slice(vbfast::arrays::place_result + call.n_results++, results.back());
    }
    run(call, builder, x.is_double, nullptr, stream, names);
    return results;
}

DeviceArray map_array(const CallStream& stream, int mapping, const DeviceArray& x,
                      const std::vector<int>& axes) {
    const DeviceGuard guard(stream.device());
    Call call;
    call.maps = true;
    call.mapping = static_cast<Mapping>(mapping);
    call.reduction = vbfast::arrays::reduction_of(call.mapping);
    Builder builder(x, axes);
    builder.sliced(vbfast::arrays::place_x, x);
    DeviceArray result = DeviceArray::empty(x.shape, x.is_double, stream);
    builder.sliced(vbfast::arrays::place_out0, result);
    run(call, builder, x.is_double, nullptr, stream, py::tuple());
    return result;
}

// The terms of the bound over the last axis, in the order of ElboTerms, sums without dimensions or
// rows, as float64; and the gradients in the logits of q and in the log-joint, if they are wanted.
py::tuple bound(const CallStream& stream, const DeviceArray& joint,
                const std::optional<DeviceArray>& q, bool is_logits, double tolerance,
                const std::optional<DeviceArray>& weight, bool per_sample, bool gradients) {
    const DeviceGuard guard(stream.device());
    Call call;
    const DeviceArray& x = q ? *q : joint;
    Builder builder(x, {static_cast<int>(x.shape.size()) - 1});
    builder.sliced(vbfast::arrays::place_x, x);
    call.reduction = Reduction::logits_entropy;
    if (q) {
        check_same(x, joint);
        call.reduction = is_logits ? Reduction::logits_logits : Reduction::probs_logits;
        call.demands[0] = is_logits ? Demand::proper : Demand::distribution;
        call.tolerances[0] = tolerance;
        builder.sliced(vbfast::arrays::place_y, joint);
    }
    if (weight) {
        if (!weight->is_double || weight->shape != builder.result_shape(false))
            throw py::value_error("weights must be float64, one a row");
        builder.a_slice(vbfast::arrays::place_weight, *weight);
    }
    std::vector<DeviceArray> written;
    if (gradients) {
        call.maps = true;
        call.mapping = !q          ? Mapping::posterior_gradient
                       : is_logits ? Mapping::gradient
                                   : Mapping::probs_gradient;
        for (int k = 0; k < 2; ++k) {
            written.push_back(DeviceArray::empty(x.shape, x.is_double, stream));
            builder.sliced(vbfast::arrays::place_out0 + k, written.back());
        }
    }
    using namespace vbfast::arrays;
    constexpr Result order[] = {result_elbo, result_expected, result_entropy, result_log_evidence,
                                result_kl};
    std::vector<DeviceArray> terms;
    call.wide_results = true;
    double* sums = nullptr;
    if (per_sample) {
        for (const Result term : order) {
            terms.push_back(DeviceArray::empty(builder.result_shape(false), true, stream));
            builder.a_slice(place_result + call.n_results, terms.back());
            call.results[call.n_results++] = term;
        }
    } else {
        const DeviceArray all = DeviceArray::empty({result_count}, true, stream);
        sums = reinterpret_cast<double*>(all.data);
        for (const Result term : order) {
            DeviceArray one = all;
            one.data += term * sizeof(double);
            one.shape.clear();
            one.strides.clear();
            terms.push_back(one);
        }
    }
    run(call, builder, x.is_double, sums, stream, py::make_tuple(is_logits ? "q_logits" : "q"));
    return py::make_tuple(terms, written);
}

}  // namespace

void register_arrays(py::module_& module) {
    using py::arg;
    py::register_exception<arrays::Unsupported>(module, "Unsupported", PyExc_NotImplementedError);
    py::class_<CallStream>(module, "Stream", "A stream of a device, for one call.")
        .def(py::init<int>(), arg("device"))
        .def_property_readonly("handle",
                               [](const CallStream& stream) {
                                   return reinterpret_cast<std::uintptr_t>(stream.stream());
                               })
        .def("wait_for", &CallStream::wait_for, arg("handle"),
             "Let what comes wait for what is in another stream now.");
    py::class_<DeviceArray>(module, "DeviceArray", "An array on a device.")
        .def_static("copy_of", &DeviceArray::copy_of, arg("array"), arg("stream"))
        .def_static("from_capsule", &DeviceArray::from_capsule, arg("capsule"))
        .def_static("borrow", &DeviceArray::borrow, arg("data"), arg("shape"), arg("strides"),
                    arg("is_double"), arg("device"), arg("owner"))
        .def_property_readonly("shape",
                               [](const DeviceArray& a) { return py::tuple(py::cast(a.shape)); })
        .def_property_readonly("strides",
                               [](const DeviceArray& a) { return py::tuple(py::cast(a.strides)); })
        .def_readonly("is_double", &DeviceArray::is_double)
        .def_readonly("device", &DeviceArray::device)
        .def_property_readonly(
            "data", [](const DeviceArray& a) { return reinterpret_cast<std::uintptr_t>(a.data); })
        .def("broadcast_to", &DeviceArray::broadcast_to, arg("shape"))
        .def("to_host", &DeviceArray::to_host, arg("stream"))
        .def("to_capsule", &DeviceArray::to_capsule, arg("versioned"));
    module.def("device_of_address", &device_of_address, arg("address"),
               "The device whose memory is at an address.");
    module.def("reduce_array", &reduce_array, "A reduction of an array over some of its axes.");
    module.def("map_array", &map_array, "softmax or log_softmax of an array over some axes.");
    module.def("bound", &bound, "Terms of the evidence lower bound, and its gradients.");
}

}  // namespace vbfast::cuda
