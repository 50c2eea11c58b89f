// The array functions on NumPy arrays: axes, outputs, layouts. Arrays come as float32 or float64.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <bitset>
#include <limits>
#include <optional>
#include <string>

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

using Dimensions = std::bitset<max_dimensions>;

// Which dimensions of `a` are reduced: None is all. As in NumPy, 0-d arrays take axis 0 and -1.
Dimensions reduced_dimensions(const py::array& a, const py::object& axis) {
    const py::ssize_t n = a.ndim();
    Dimensions reduced;
    if (axis.is_none()) return reduced.set();
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

bool has_flag(const py::array& a, int flag) {
    return (a.flags() & flag) != 0;
}

py::array aligned(const py::array& a) {
    return has_flag(a, py::detail::npy_api::NPY_ARRAY_ALIGNED_)
               ? a
               : a.attr("copy")().cast<py::array>();
}

bool is_float64(const py::array& a) {
    return a.itemsize() == sizeof(double);
}

// A new array, of the rows-first or the columns-first order. What py::array does besides, the
// vectors of shapes and strides, takes as long as a reduction of a few elements.
py::array new_array(int n_dimensions, const py::ssize_t* shape, bool is_double,
                    bool columns_first = false) {
    const auto& api = py::detail::npy_api::get();
    PyObject* type = api.PyArray_DescrFromType_(is_double ? py::detail::npy_api::NPY_DOUBLE_
                                                          : py::detail::npy_api::NPY_FLOAT_);
    PyObject* made = api.PyArray_NewFromDescr_(
        api.PyArray_Type_, type, n_dimensions, shape, nullptr, nullptr,
        columns_first ? py::detail::npy_api::NPY_ARRAY_F_CONTIGUOUS_ : 0, nullptr);
    if (made == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::array>(made);
}

py::array new_like(const py::array& a) {
    using Api = py::detail::npy_api;
    const bool columns_first =
        has_flag(a, Api::NPY_ARRAY_F_CONTIGUOUS_) && !has_flag(a, Api::NPY_ARRAY_C_CONTIGUOUS_);
    return new_array(static_cast<int>(a.ndim()), a.shape(), is_float64(a), columns_first);
}

// Raises unless `out` is an array of that shape and type that can be written to.
void check_out(const py::object& out, const py::tuple& shape, const py::dtype& dtype,
               const char* name) {
    if (!py::isinstance<py::array>(out))
        throw py::type_error(std::string(name) + " must be a NumPy array; got " +
                             Py_TYPE(out.ptr())->tp_name);
    const auto array = py::reinterpret_borrow<py::array>(out);
    bool fits =
        array.dtype().equal(dtype) && array.ndim() == static_cast<py::ssize_t>(shape.size());
    for (py::ssize_t d = 0; fits && d < array.ndim(); ++d)
        fits = array.shape(d) == shape[d].cast<py::ssize_t>();
    if (!fits)
        throw py::value_error(
            py::str("{} must have shape {} and dtype {}; got shape {} and dtype {}")
                .format(name, shape, dtype, out.attr("shape"), array.dtype()));
    if (!array.writeable() || !has_flag(array, py::detail::npy_api::NPY_ARRAY_ALIGNED_))
        throw py::value_error(std::string(name) + " must be writeable and aligned");
}

// Whether an object is an array that kernels take as it is, no subclass.
bool is_plain(const py::handle& a) {
    const auto& api = py::detail::npy_api::get();
    if (Py_TYPE(a.ptr()) != reinterpret_cast<PyTypeObject*>(api.PyArray_Type_)) return false;
    const py::dtype type = py::reinterpret_borrow<py::array>(a).dtype();
    return type.byteorder() == '=' && (type.num() == py::detail::npy_api::NPY_DOUBLE_ ||
                                       type.num() == py::detail::npy_api::NPY_FLOAT_);
}

bool same_shape(const py::array& a, const py::array& b) {
    return a.ndim() == b.ndim() && std::equal(a.shape(), a.shape() + a.ndim(), b.shape());
}

// A log-joint and q, where they need no more preparation for bound_terms, else None: one look at
// what most calls bring, as each look from Python takes a tenth of the bound of a short row.
py::object ready_operands(const py::object& log_joint, const py::object& q) {
    if (!is_plain(log_joint)) return py::none();
    const auto joint = py::reinterpret_borrow<py::array>(log_joint);
    if (joint.ndim() == 0 || joint.shape(joint.ndim() - 1) == 0) return py::none();
    if (!q.is_none()) {
        if (!is_plain(q)) return py::none();
        const auto given = py::reinterpret_borrow<py::array>(q);
        if (given.itemsize() != joint.itemsize() || !same_shape(given, joint)) return py::none();
    }
    return py::make_tuple(log_joint, q);
}

// The bytes from the first to the last element.
struct Extent {
    explicit Extent(const py::array& a)
        : first(static_cast<const char*>(a.data())), last(first + (a.size() ? a.itemsize() : 0)) {
        for (py::ssize_t d = 0; a.size() && d < a.ndim(); ++d) {
            const py::ssize_t reach = (a.shape(d) - 1) * a.strides(d);
            (reach < 0 ? first : last) += reach;
        }
    }
    bool meets(const Extent& other) const { return first < other.last && other.first < last; }

    const char *first, *last;
};

bool same_elements(const py::array& a, const py::array& b) {
    return a.data() == b.data() && a.ndim() == b.ndim() &&
           std::equal(a.strides(), a.strides() + a.ndim(), b.strides());
}

// The inputs, those copied whose memory may overlap an output's; where they are that output, only
// if `even_same`.
py::tuple apart(const py::tuple& inputs, const py::tuple& outputs, bool even_same) {
    py::tuple separate(inputs.size());
    for (std::size_t k = 0; k < inputs.size(); ++k) {
        py::object input = inputs[k];
        if (!input.is_none()) {
            const auto array = py::reinterpret_borrow<py::array>(input);
            const Extent own(array);
            for (const py::handle item : outputs) {
                const auto output = py::reinterpret_borrow<py::array>(item);
                if (!own.meets(Extent(output)) || (!even_same && same_elements(array, output)))
                    continue;
                input = array.attr("copy")();
                break;
            }
        }
        separate[k] = input;
    }
    return separate;
}

// Outputs for the gradients of the bound.
py::tuple new_gradients(const py::array& joint) {
    const auto make = [&] {
        return new_array(static_cast<int>(joint.ndim()), joint.shape(), is_float64(joint));
    };
    return py::make_tuple(make(), make());
}

// Whether what check_out asks of an output holds: all that most calls need to know.
bool fits(const py::object& out, const py::array& like) {
    if (!is_plain(out)) return false;
    const auto array = py::reinterpret_borrow<py::array>(out);
    return array.itemsize() == like.itemsize() && same_shape(array, like) && array.writeable() &&
           has_flag(array, py::detail::npy_api::NPY_ARRAY_ALIGNED_);
}

// Raises unless the gradients of the bound can be written there.
void check_gradients(const py::object& in_logits, const py::object& in_joint,
                     const py::array& joint) {
    if (!fits(in_logits, joint)) check_out(in_logits, joint.attr("shape"), joint.dtype(), "out[0]");
    if (!fits(in_joint, joint)) check_out(in_joint, joint.attr("shape"), joint.dtype(), "out[1]");
    if (Extent(py::reinterpret_borrow<py::array>(in_logits))
            .meets(Extent(py::reinterpret_borrow<py::array>(in_joint))))
        throw py::value_error("the two arrays of out must not overlap");
}

// Builds the layout of operands of the shape of x.
class Builder {
  public:
    Builder(const py::array& x, Dimensions reduced)
        : n_(static_cast<int>(x.ndim())), shape_(x.shape()), reduced_(reduced) {
        for (int d = 0; d < n_; ++d) {
            if (reduced_[d])
                layout.reduced[layout.n_reduced++] = shape_[d];
            else
                layout.outer[layout.n_outer++] = shape_[d];
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
        py::ssize_t shape[max_dimensions];
        int n = 0;
        for (int d = 0; d < n_; ++d)
            if (!reduced_[d] || keepdims) shape[n++] = reduced_[d] ? 1 : shape_[d];
        return new_array(n, shape, is_double);
    }

    // A slice's place among its fellows, as an index.
    std::string slice_name(std::int64_t number) const {
        std::string name;
        for (int d = n_ - 1; d >= 0; --d) {
            if (reduced_[d]) continue;
            name = std::to_string(number % shape_[d]) + (name.empty() ? "" : ", ") + name;
            number /= shape_[d];
        }
        return name;
    }

    Layout layout;

  private:
    int n_;
    const py::ssize_t* shape_;
    Dimensions reduced_;
};

[[noreturn]] void raise_bad_slice(const ArrayCall& call, const ArrayOutcome& outcome,
                                  const Builder& builder, const py::tuple& names) {
    const std::string name = names[outcome.bad_input].cast<std::string>();
    const std::string where = builder.slice_name(outcome.bad_slice);
    std::string message = name + (where.empty() ? "" : " at row " + where);
    if (call.demands[outcome.bad_input] == Demand::proper)
        message += outcome.bad_sum == 0 ? " has no logit above -inf" : " has a logit of +inf";
    else if (outcome.bad_minimum < 0)
        message +=
            " has a negative entry, " + std::string(py::str(py::float_(outcome.bad_minimum)));
    else
        message += " sums to " + std::string(py::str(py::float_(outcome.bad_sum))) + ", not one";
    throw py::value_error(message + "; a distribution is needed");
}

ArrayOutcome run(const ArrayCall& call, Builder& builder, bool is_double, const py::tuple& names) {
    Layout& layout = builder.layout;
    const auto go = [&] {
        return is_double ? run_array_call<double>(call, layout)
                         : run_array_call<float>(call, layout);
    };
    ArrayOutcome outcome;
    if (layout.n_slices() * layout.n_elements() < 4096) {  // too short to let go of the interpreter
        outcome = go();
    } else {
        const py::gil_scoped_release release;
        outcome = go();
    }
    if (outcome.status == RunStatus::interrupted) throw py::error_already_set();
    if (outcome.bad_slice >= 0) raise_bad_slice(call, outcome, builder, names);
    return outcome;
}

// Raises unless there is one weight, finite and not negative, a row of the log-joint.
void check_weights(const py::array& weights, const py::array& joint) {
    const py::ssize_t n = joint.ndim() - 1;
    if (weights.ndim() != n || !std::equal(weights.shape(), weights.shape() + n, joint.shape())) {
        const py::tuple shape = joint.attr("shape");
        throw py::value_error(py::str("sample_weight must have shape {}; got {}")
                                  .format(shape[py::slice(0, n, 1)], weights.attr("shape")));
    }
    const py::array array = aligned(weights);
    Builder builder(array, Dimensions());
    builder.sliced(place_x, array);
    const Layout& layout = builder.layout;
    Position position(0, layout.outer, layout.n_outer);
    for (std::int64_t i = 0; i < layout.n_slices(); ++i, position.advance()) {
        const Operand& operand = layout.operands[place_x];
        const double weight =
            *reinterpret_cast<const double*>(operand.data + position.offset(operand.outer));
        if (!(weight >= 0 && weight <= std::numeric_limits<double>::max()))
            throw py::value_error("sample_weight must be finite and not negative; got " +
                                  std::string(py::str(py::float_(weight))));
    }
}

// Reductions whose results have one number a slice. `names` are those of the inputs in errors,
// empty for inputs of which nothing is demanded.
py::object reduce_array(int reduction, py::array x, std::optional<py::array> y,
                        const py::object& axis, bool keepdims, const py::tuple& which,
                        const py::tuple& names, const std::optional<py::array>& out,
                        int num_threads) {
    x = aligned(x);
    ArrayCall call;
    call.reduction = static_cast<Reduction>(reduction);
    call.num_threads = num_threads;
    call.interrupt = &python_interrupt;
    Builder builder(x, reduced_dimensions(x, axis));
    builder.sliced(place_x, x);
    if (y) {
        y = aligned(*y);
        builder.sliced(place_y, *y);
    }
    for (std::size_t k = 0; k < names.size(); ++k)
        if (py::len(names[k]) > 0) call.demands[k] = Demand::distribution;
    call.allow_negative = call.reduction != Reduction::scaled_sum_exp || which.size() > 1;
    const bool is_double = is_float64(x);
    py::tuple results(which.size());
    for (const py::handle item : which) {
        const py::array result = out ? *out : builder.new_result(keepdims, is_double);
        call.results[call.n_results] = item.cast<int>();
        builder.a_slice(place_result + call.n_results, result);
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
    ArrayCall call;
    call.maps = true;
    call.mapping = static_cast<Mapping>(mapping);
    call.reduction = reduction_of(call.mapping);
    call.num_threads = num_threads;
    call.interrupt = &python_interrupt;
    Builder builder(x, reduced_dimensions(x, axis));
    builder.sliced(place_x, x);
    const py::array target = out ? *out : new_like(x);
    builder.sliced(place_out0, target);
    run(call, builder, is_double, py::tuple());
    return target;
}

// The terms of the bound over the last axis, and the gradients where outputs are given: sums, or
// rows as float64. `x` is q (or the log-joint alone, for the posterior), `y` the log-joint.
py::tuple bound_terms(int reduction, py::array x, std::optional<py::array> y,
                      const std::optional<py::array>& weight, bool per_sample,
                      const py::tuple& names, const std::optional<py::tuple>& gradients,
                      int num_threads) {
    x = aligned(x);
    ArrayCall call;
    call.reduction = static_cast<Reduction>(reduction);
    call.num_threads = num_threads;
    call.interrupt = &python_interrupt;
    Builder builder(x, Dimensions().set(x.ndim() - 1));
    builder.sliced(place_x, x);
    if (y) {
        y = aligned(*y);
        builder.sliced(place_y, *y);
        call.demands[0] =
            call.reduction == Reduction::logits_logits ? Demand::proper : Demand::distribution;
    }
    if (weight) builder.a_slice(place_weight, *weight);
    if (gradients) {
        call.maps = true;
        call.mapping = y ? Mapping::gradient : Mapping::posterior_gradient;
        builder.sliced(place_out0, (*gradients)[0].cast<py::array>());
        builder.sliced(place_out1, (*gradients)[1].cast<py::array>());
    }
    py::tuple terms(static_cast<py::ssize_t>(result_count));
    call.wants_sums = !per_sample;
    call.wide_results = true;
    if (per_sample)
        for (int k = 0; k < result_count; ++k) {
            const py::array rows = builder.new_result(false, true);
            call.results[k] = k;
            builder.a_slice(place_result + k, rows);
            call.n_results = k + 1;
            terms[k] = rows;
        }
    const ArrayOutcome outcome = run(call, builder, is_float64(x), names);
    if (!per_sample)
        for (int k = 0; k < result_count; ++k) terms[k] = py::float_(outcome.sums[k]);
    return terms;
}

}  // namespace

void register_arrays(py::module_& module) {
    module.def("check_out", &check_out, "Raise unless an output has a shape and type.");
    module.def("apart", &apart, "Inputs, or copies of those that may share memory with outputs.");
    module.def("ready_operands", &ready_operands, "A log-joint and q that need no preparation.");
    module.def("check_weights", &check_weights, "Raise unless weights fit a log-joint.");
    module.def("check_gradients", &check_gradients, "Raise unless gradients can be written.");
    module.def("new_gradients", &new_gradients, "New outputs for the gradients of the bound.");
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
