// The array functions on NumPy arrays, which come as float32 or float64: layouts and calls.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "arrays/run.h"
#include "python/array_arguments.h"
#include "python/bad_slice.h"
#include "python/interrupt.h"

namespace py = pybind11;

namespace vbfast::python {

namespace {

using arrays::Call;
using arrays::Demand;
using arrays::Layout;
using arrays::Mapping;
using arrays::Operand;
using arrays::Outcome;
using arrays::Place;
using arrays::Reduction;
using arrays::Result;

// Builds the layout of operands of the shape of x.
class Builder {
  public:
    Builder(const py::array& x, AxisSet reduced)
        : n_(static_cast<int>(x.ndim())), shape_(x.shape()), reduced_(reduced) {
        for (int d = 0; d < n_; ++d) {
            if (reduced_[d])
                layout.reduced[layout.n_reduced++] = shape_[d];
            else
                layout.outer[layout.n_outer++] = shape_[d];
        }
        std::int64_t stride = 1;
        for (int d = layout.n_outer - 1; d >= 0; --d) {
            layout.operands[arrays::place_number].outer[d] = stride;
            stride *= layout.outer[d];
        }
    }

    void sliced(Place place, const py::array& a) {
        Operand& operand = layout.operands[place];
        operand.data = static_cast<char*>(const_cast<void*>(a.data()));
        const py::ssize_t* strides = a.strides();
        int outer = 0, inner = 0;
        for (int d = 0; d < n_; ++d)
            (reduced_[d] ? operand.reduced[inner++] : operand.outer[outer++]) = strides[d];
    }

    // An array of one number a slice, with or without the reduced dimensions.
    void a_slice(int place, const py::array& a) {
        Operand& operand = layout.operands[place];
        operand.data = static_cast<char*>(const_cast<void*>(a.data()));
        const bool kept = a.ndim() == n_;
        const py::ssize_t* strides = a.strides();
        int outer = 0;
        for (int d = 0; d < n_; ++d)
            if (!reduced_[d]) {
                operand.outer[outer] = strides[kept ? d : outer];
                ++outer;
            }
    }

    py::array new_result(bool keepdims, bool is_double) const {
        py::ssize_t shape[arrays::max_dimensions];
        int n = 0;
        for (int d = 0; d < n_; ++d)
            if (!reduced_[d] || keepdims) shape[n++] = reduced_[d] ? 1 : shape_[d];
        return new_array(n, shape, is_double);
    }

    std::vector<std::int64_t> outer_shape() const {
        std::vector<std::int64_t> shape;
        for (int d = 0; d < n_; ++d)
            if (!reduced_[d]) shape.push_back(shape_[d]);
        return shape;
    }

    Layout layout;

  private:
    int n_;
    const py::ssize_t* shape_;
    AxisSet reduced_;
};

Outcome run(Call& call, Builder& builder, bool is_double, const py::tuple& names) {
    Layout& layout = builder.layout;
    const auto go = [&](const runtime::Interrupt* interrupt) {
        call.interrupt = interrupt;
        return is_double ? arrays::run_call<double>(call, layout)
                         : arrays::run_call<float>(call, layout);
    };
    const bool is_short = layout.n_slices() * std::max(layout.n_elements(), std::int64_t{1}) < 4096;
    // Letting go of the interpreter would take longer than a short call.
    const Outcome outcome = is_short ? go(nullptr) : without_gil(go);
    if (outcome.bad_slice >= 0)
        raise_bad_slice(call, outcome, slice_name(outcome.bad_slice, builder.outer_shape()), names);
    return outcome;
}

// Reductions whose results have one number a slice. `names` are those of the inputs in errors. An
// input with a name must be a distribution, whose sum is one within its tolerance; the others have
// empty names.
py::object reduce_array(int reduction, py::array x, std::optional<py::array> y,
                        const py::object& axis, bool keepdims, const py::tuple& which,
                        const py::tuple& names, const py::tuple& tolerances,
                        const std::optional<py::array>& out, int num_threads) {
    x = aligned(x);
    Call call;
    call.reduction = static_cast<Reduction>(reduction);
    call.num_threads = num_threads;
    Builder builder(x, reduced_dimensions(x.ndim(), axis));
    builder.sliced(arrays::place_x, x);
    if (y) {
        y = aligned(*y);
        builder.sliced(arrays::place_y, *y);
    }
    for (std::size_t k = 0; k < names.size(); ++k) {
        if (py::len(names[k]) == 0) continue;
        call.demands[k] = Demand::distribution;
        call.tolerances[k] = tolerances[k].cast<double>();
    }
    call.allow_negative = call.reduction != Reduction::scaled_sum_exp || which.size() > 1;
    const bool is_double = is_float64(x);
    py::tuple results(which.size());
    for (const py::handle item : which) {
        const py::array result = out ? *out : builder.new_result(keepdims, is_double);
        call.results[call.n_results] = item.cast<int>();
        builder.a_slice(arrays::place_result + call.n_results, result);
        results[call.n_results++] = result;
    }
    run(call, builder, is_double, names);
    if (!out)  // as NumPy does, numbers instead of arrays without dimensions
        for (std::size_t k = 0; k < results.size(); ++k)
            if (py::reinterpret_borrow<py::array>(results[k]).ndim() == 0)
                results[k] = results[k][py::tuple()];
    return results.size() == 1 ? py::object(results[0]) : results;
}

// softmax or log-softmax, into `out` or a new array that takes after x.
py::array map_array(int mapping, py::array x, const py::object& axis,
                    const std::optional<py::array>& out, int num_threads) {
    x = aligned(x);
    const bool is_double = is_float64(x);
    Call call;
    call.maps = true;
    call.mapping = static_cast<Mapping>(mapping);
    call.reduction = arrays::reduction_of(call.mapping);
    call.num_threads = num_threads;
    Builder builder(x, reduced_dimensions(x.ndim(), axis));
    builder.sliced(arrays::place_x, x);
    call.new_outputs = !out;
    const py::array target = out ? *out : new_like(x);
    builder.sliced(arrays::place_out0, target);
    run(call, builder, is_double, py::tuple());
    return target;
}

// The terms of the bound over the last axis, in the order of ElboTerms: sums, or rows as float64.
// Without q they are those of the posterior. `tolerance` is that of the sums of q, by default that
// of its type. `gradients`: null, or the outputs for the gradients in the logits of q and in the
// log-joint; `new_gradients`: whether these are new arrays.
py::tuple run_bound(const py::array& log_joint, const std::optional<py::array>& q, bool is_logits,
                    std::optional<double> tolerance, const std::optional<py::array>& weight,
                    bool per_sample, const py::array* gradients, bool new_gradients,
                    int num_threads) {
    Call call;
    call.num_threads = num_threads;
    const py::array joint = aligned(log_joint), x = q ? aligned(*q) : joint;
    Builder builder(x, AxisSet().set(x.ndim() - 1));
    builder.sliced(arrays::place_x, x);
    if (q) {
        call.reduction = is_logits ? Reduction::logits_logits : Reduction::probs_logits;
        call.demands[0] = is_logits ? Demand::proper : Demand::distribution;
        call.tolerances[0] = tolerance.value_or(arrays::sum_tolerance(is_float64(x)));
        builder.sliced(arrays::place_y, joint);
    } else {
        call.reduction = Reduction::logits_entropy;
    }
    const py::array weights = weight ? aligned(*weight) : joint;
    if (weight) builder.a_slice(arrays::place_weight, weights);
    if (gradients != nullptr) {
        call.maps = true;
        call.new_outputs = new_gradients;
        call.mapping = !q          ? Mapping::posterior_gradient
                       : is_logits ? Mapping::gradient
                                   : Mapping::probs_gradient;
        builder.sliced(arrays::place_out0, gradients[0]);
        builder.sliced(arrays::place_out1, gradients[1]);
    }
    constexpr Result order[] = {arrays::result_elbo, arrays::result_expected,
                                arrays::result_entropy, arrays::result_log_evidence,
                                arrays::result_kl};
    py::tuple terms(std::size(order));
    call.wants_sums = !per_sample;
    call.wide_results = true;
    if (per_sample)
        for (const Result term : order) {
            const py::array rows = builder.new_result(false, true);
            builder.a_slice(arrays::place_result + call.n_results, rows);
            terms[call.n_results] = rows;
            call.results[call.n_results++] = term;
        }
    const Outcome outcome =
        run(call, builder, is_float64(x), py::make_tuple(is_logits ? "q_logits" : "q"));
    if (!per_sample)
        for (std::size_t k = 0; k < std::size(order); ++k)
            terms[k] = py::float_(outcome.sums[order[k]]);
    return terms;
}

py::tuple bound_terms(const py::array& log_joint, const std::optional<py::array>& q, bool is_logits,
                      std::optional<double> tolerance, const std::optional<py::array>& weight,
                      bool per_sample, int num_threads) {
    return run_bound(log_joint, q, is_logits, tolerance, weight, per_sample, nullptr, false,
                     num_threads);
}

// The terms, and the gradients in `out` or new arrays.
py::tuple bound_and_gradients(const py::array& log_joint, const std::optional<py::array>& q,
                              bool is_logits, std::optional<double> tolerance,
                              const std::optional<py::array>& weight, bool per_sample,
                              const std::optional<py::tuple>& out, int num_threads) {
    const auto output = [&](int k) {
        return out ? (*out)[k].cast<py::array>()
                   : new_array(static_cast<int>(log_joint.ndim()), log_joint.shape(),
                               is_float64(log_joint));
    };
    const py::array gradients[] = {output(0), output(1)};
    const py::tuple terms = run_bound(log_joint, q, is_logits, tolerance, weight, per_sample,
                                      gradients, !out, num_threads);
    return py::make_tuple(terms, py::make_tuple(gradients[0], gradients[1]));
}

}  // namespace

void register_arrays(py::module_& module) {
    module.def("reduce_array", &reduce_array, "A reduction of an array over some of its axes.");
    module.def("map_array", &map_array, "softmax or log_softmax of an array over some axes.");
    module.def("bound_terms", &bound_terms, "Terms of the evidence lower bound.");
    module.def("bound_and_gradients", &bound_and_gradients, "Its terms and its gradients.");
    py::dict reductions, mappings, results, tolerances;
    const std::pair<const char*, Reduction> of_reductions[] = {
        {"sum_exp", Reduction::sum_exp},
        {"scaled_sum_exp", Reduction::scaled_sum_exp},
        {"logits_entropy", Reduction::logits_entropy},
        {"probs_entropy", Reduction::probs_entropy},
        {"logits_logits", Reduction::logits_logits},
        {"logits_probs", Reduction::logits_probs},
        {"probs_logits", Reduction::probs_logits},
        {"probs_probs", Reduction::probs_probs}};
    for (const auto& [name, value] : of_reductions) reductions[name] = static_cast<int>(value);
    mappings["softmax"] = static_cast<int>(Mapping::softmax);
    mappings["log_softmax"] = static_cast<int>(Mapping::log_softmax);
    results["log_evidence"] = static_cast<int>(arrays::result_log_evidence);
    results["sign"] = static_cast<int>(arrays::result_sign);
    results["entropy"] = static_cast<int>(arrays::result_entropy);
    results["kl"] = static_cast<int>(arrays::result_kl);
    tolerances["float64"] = arrays::sum_tolerance(true);
    tolerances["float32"] = arrays::sum_tolerance(false);
    module.attr("SUM_TOLERANCES") = tolerances;
    module.attr("REDUCTIONS") = reductions;
    module.attr("MAPPINGS") = mappings;
    module.attr("RESULTS") = results;
}

}  // namespace vbfast::python
