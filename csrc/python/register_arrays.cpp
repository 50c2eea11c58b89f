// The array functions on NumPy arrays: axes, outputs, layouts. Arrays come as float32 or float64.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "array_functions.h"
#include "interrupt.h"

namespace py = pybind11;

namespace vbfast {

namespace {

[[noreturn]] void raise_axis(std::int64_t axis, py::ssize_t n_dimensions) {
    const py::object type = py::module_::import("numpy.exceptions").attr("AxisError");
    PyErr_SetObject(type.ptr(), type(axis, n_dimensions).ptr());
    throw py::error_already_set();
}

// Which dimensions of `a` are reduced: None is all. As in NumPy, 0-d arrays take axis 0 and -1.
std::vector<bool> reduced_dimensions(const py::array& a, const py::object& axis) {
    const py::ssize_t n = a.ndim();
    std::vector<bool> reduced(n, axis.is_none());
    if (axis.is_none()) return reduced;
    const auto mark = [&](const py::handle& item) {
        const Py_ssize_t given = PyNumber_AsSsize_t(item.ptr(), PyExc_OverflowError);
        if (given == -1 && PyErr_Occurred()) throw py::error_already_set();
        if (n == 0 && (given == 0 || given == -1)) return;
        const Py_ssize_t d = given < 0 ? given + n : given;
        if (d < 0 || d >= n) raise_axis(given, n);
        if (reduced[d]) throw py::value_error("duplicate value in 'axis'");
        reduced[d] = true;
    };
    if (py::isinstance<py::tuple>(axis) || py::isinstance<py::list>(axis))
        for (const py::handle item : axis) mark(item);
    else
        mark(axis);
    return reduced;
}

bool is_aligned(const py::array& a) {
    return (a.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
}

// Builds the layout of operands of the shape of x.
class Builder {
  public:
    Builder(const py::array& x, std::vector<bool> reduced) : reduced_(std::move(reduced)) {
        const py::ssize_t n = x.ndim();
        for (py::ssize_t d = 0; d < n; ++d) {
            if (reduced_[d])
                layout.reduced[layout.n_reduced++] = x.shape(d);
            else
                layout.outer[layout.n_outer++] = x.shape(d);
        }
        std::int64_t stride = 1;
        for (int d = layout.n_outer - 1; d >= 0; --d) {
            layout.operands[place_number].outer[d] = stride;
            stride *= layout.outer[d];
        }
    }

    void sliced(Place place, const py::array& a) {
        Operand& operand = layout.operands[place];
        operand.data = static_cast<char*>(const_cast<void*>(a.data()));
        int outer = 0, inner = 0;
        for (py::ssize_t d = 0; d < a.ndim(); ++d)
            (reduced_[d] ? operand.reduced[inner++] : operand.outer[outer++]) = a.strides(d);
    }

    // An array of one number a slice, with or without the reduced dimensions.
    void a_slice(int place, const py::array& a) {
        Operand& operand = layout.operands[place];
        operand.data = static_cast<char*>(const_cast<void*>(a.data()));
        const bool kept = a.ndim() == static_cast<py::ssize_t>(reduced_.size());
        int outer = 0;
        for (std::size_t d = 0; d < reduced_.size(); ++d)
            if (!reduced_[d]) {
                operand.outer[outer] = a.strides(kept ? static_cast<int>(d) : outer);
                ++outer;
            }
    }

    std::vector<py::ssize_t> result_shape(bool keepdims) const {
        std::vector<py::ssize_t> shape;
        int outer = 0;
        for (const bool reduced : reduced_) {
            if (!reduced) shape.push_back(layout.outer[outer++]);
            if (reduced && keepdims) shape.push_back(1);
        }
        return shape;
    }

    Layout layout;

  private:
    std::vector<bool> reduced_;
};

// A slice's place among its fellows, as an index.
std::string slice_name(const Layout& unsorted, std::int64_t number) {
    std::string name;
    for (int d = unsorted.n_outer - 1; d >= 0; --d) {
        name = std::to_string(number % unsorted.outer[d]) + (name.empty() ? "" : ", ") + name;
        number /= unsorted.outer[d];
    }
    return name;
}

ArrayOutcome run(const ArrayCall& call, Layout layout, bool is_double) {
    ArrayOutcome outcome;
    const std::int64_t large = layout.n_slices() * layout.n_elements();
    if (large < 4096) {  // too short to let go of the interpreter
        outcome =
            is_double ? run_array_call<double>(call, layout) : run_array_call<float>(call, layout);
    } else {
        const py::gil_scoped_release release;
        outcome =
            is_double ? run_array_call<double>(call, layout) : run_array_call<float>(call, layout);
    }
    if (outcome.status == RunStatus::interrupted) throw py::error_already_set();
    return outcome;
}

void raise_if_bad(const ArrayCall& call, const ArrayOutcome& outcome, const Layout& unsorted,
                  const py::tuple& names) {
    if (outcome.bad_slice < 0) return;
    const std::string name = names[outcome.bad_input].cast<std::string>();
    const std::string where = slice_name(unsorted, outcome.bad_slice);
    std::string message = name + (where.empty() ? "" : " at row " + where);
    if (call.demands[outcome.bad_input] == Demand::proper)
        message += outcome.bad_sum == 0 ? " has no logit above -inf" : " has a logit of +inf";
    else if (outcome.bad_minimum < 0)
        message += " has a negative entry, " + std::to_string(outcome.bad_minimum);
    else
        message += " sums to " + std::string(py::str(py::float_(outcome.bad_sum))) + ", not one";
    throw py::value_error(message + "; a distribution is needed");
}

py::array aligned(const py::array& a) {
    return is_aligned(a) ? a : a.attr("copy")().cast<py::array>();
}

bool is_float64(const py::array& a) {
    return a.itemsize() == sizeof(double);
}

py::array new_result(const std::vector<py::ssize_t>& shape, bool is_double) {
    return is_double ? py::array(py::array_t<double>(shape)) : py::array(py::array_t<float>(shape));
}

// Reductions whose results have one number a slice. `names` are those of the inputs in errors,
// empty for inputs of which nothing is demanded.
py::object reduce_array(int reduction, py::array x, const py::object& y, const py::object& axis,
                        bool keepdims, const py::tuple& which, const py::tuple& names,
                        const py::object& out, int num_threads) {
    x = aligned(x);
    py::array other;
    ArrayCall call;
    call.reduction = static_cast<Reduction>(reduction);
    call.num_threads = num_threads;
    call.interrupt = &python_interrupt;
    Builder builder(x, reduced_dimensions(x, axis));
    builder.sliced(place_x, x);
    if (!y.is_none()) {
        other = aligned(y.cast<py::array>());
        builder.sliced(place_y, other);
    }
    for (std::size_t k = 0; k < names.size(); ++k)
        if (!names[k].cast<std::string>().empty()) call.demands[k] = Demand::distribution;
    call.allow_negative = call.reduction != Reduction::scaled_sum_exp || which.size() > 1;
    const bool is_double = is_float64(x);
    const auto shape = builder.result_shape(keepdims);
    std::vector<py::array> results;
    for (const py::handle item : which) {
        results.push_back(out.is_none() ? new_result(shape, is_double) : out.cast<py::array>());
        call.results[call.n_results] = item.cast<int>();
        builder.a_slice(place_result + call.n_results++, results.back());
    }
    raise_if_bad(call, run(call, builder.layout, is_double), builder.layout, names);
    const bool scalars = out.is_none() && shape.empty();
    py::tuple returned(results.size());
    for (std::size_t k = 0; k < results.size(); ++k)
        returned[k] = scalars ? py::object(results[k].attr("__getitem__")(py::tuple()))
                              : py::object(results[k]);
    return returned.size() == 1 ? py::object(returned[0]) : returned;
}

// exp and log of the slices themselves.
py::array map_array(int mapping, py::array x, const py::object& axis, py::array out,
                    int num_threads) {
    x = aligned(x);
    ArrayCall call;
    call.maps = true;
    call.mapping = static_cast<Mapping>(mapping);
    call.reduction = reduction_of(call.mapping);
    call.num_threads = num_threads;
    call.interrupt = &python_interrupt;
    Builder builder(x, reduced_dimensions(x, axis));
    builder.sliced(place_x, x);
    builder.sliced(place_out0, out);
    run(call, builder.layout, is_float64(x));
    return out;
}

// The terms of the bound over the last axis, and the gradients where outputs are given: sums, or
// rows as float64. `x` is q (or the log-joint alone, for the posterior), `y` the log-joint.
py::tuple bound_terms(int reduction, py::array x, const py::object& y, const py::object& weight,
                      bool per_sample, const py::tuple& names, const py::object& gradients,
                      int num_threads) {
    x = aligned(x);
    ArrayCall call;
    call.reduction = static_cast<Reduction>(reduction);
    call.num_threads = num_threads;
    call.interrupt = &python_interrupt;
    std::vector<bool> reduced(x.ndim(), false);
    reduced.back() = true;
    Builder builder(x, std::move(reduced));
    builder.sliced(place_x, x);
    py::array other, weights;
    if (!y.is_none()) {
        other = aligned(y.cast<py::array>());
        builder.sliced(place_y, other);
        call.demands[0] =
            call.reduction == Reduction::logits_logits ? Demand::proper : Demand::distribution;
    }
    if (!weight.is_none()) {
        weights = weight.cast<py::array>();
        builder.a_slice(place_weight, weights);
    }
    if (!gradients.is_none()) {
        const auto outputs = gradients.cast<py::tuple>();
        call.maps = true;
        call.mapping = y.is_none() ? Mapping::posterior_gradient : Mapping::gradient;
        builder.sliced(place_out0, outputs[0].cast<py::array>());
        builder.sliced(place_out1, outputs[1].cast<py::array>());
    }
    std::vector<py::array> rows;
    call.wants_sums = !per_sample;
    call.wide_results = true;
    if (per_sample)
        for (int k = 0; k < result_count; ++k) {
            rows.push_back(new_result(builder.result_shape(false), true));
            call.results[k] = k;
            builder.a_slice(place_result + k, rows.back());
            call.n_results = k + 1;
        }
    const ArrayOutcome outcome = run(call, builder.layout, is_float64(x));
    raise_if_bad(call, outcome, builder.layout, names);
    py::tuple terms(static_cast<py::ssize_t>(result_count));
    for (int k = 0; k < result_count; ++k)
        terms[k] = per_sample ? py::object(rows[k]) : py::object(py::float_(outcome.sums[k]));
    return terms;
}

}  // namespace

void register_arrays(py::module_& module) {
    module.def("reduce_array", &reduce_array, "A reduction of an array over some of its axes.");
    module.def("map_array", &map_array, "softmax or log_softmax of an array over some axes.");
    module.def("bound_terms", &bound_terms, "Terms of the evidence lower bound, and gradients.");
    py::dict reductions, mappings, results;
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
    results["log_evidence"] = static_cast<int>(result_log_evidence);
    results["sign"] = static_cast<int>(result_sign);
    results["entropy"] = static_cast<int>(result_entropy);
    results["kl"] = static_cast<int>(result_kl);
    module.attr("REDUCTIONS") = reductions;
    module.attr("MAPPINGS") = mappings;
    module.attr("RESULTS") = results;
}

}  // namespace vbfast
