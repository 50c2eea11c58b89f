#include "python/array_arguments.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <string>

#include "python/interrupt.h"

namespace py = pybind11;

namespace vbfast::python {

namespace {

[[noreturn]] void raise_axis(std::int64_t axis, py::ssize_t n_dimensions) {
    const py::object type = py::module_::import("numpy.exceptions").attr("AxisError");
    PyErr_SetObject(type.ptr(), type(axis, n_dimensions).ptr());
    throw py::error_already_set();
}

bool has_flag(const py::array& a, int flag) {
    return (a.flags() & flag) != 0;
}

bool same_shape(const py::array& a, const py::array& b) {
    return a.ndim() == b.ndim() && std::equal(a.shape(), a.shape() + a.ndim(), b.shape());
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

// The input, or a copy if its memory may overlap an output's; where it is that output, only if
// `even_same`.
py::object apart_from(const py::object& input, std::initializer_list<const py::array*> outputs,
                      bool even_same) {
    if (input.is_none()) return input;
    const auto array = py::reinterpret_borrow<py::array>(input);
    const Extent own(array);
    for (const py::array* output : outputs)
        if (own.meets(Extent(*output)) && (even_same || !same_elements(array, *output)))
            return array.attr("copy")();
    return input;
}

py::object apart(const py::object& input, const py::array& output) {
    return apart_from(input, {&output}, false);
}

// Whether what check_out asks of an output holds: all that most calls need to know.
bool fits(const py::object& out, const py::array& like) {
    if (!is_plain(out)) return false;
    const auto array = py::reinterpret_borrow<py::array>(out);
    return array.itemsize() == like.itemsize() && same_shape(array, like) && array.writeable() &&
           has_flag(array, py::detail::npy_api::NPY_ARRAY_ALIGNED_);
}

// Raises unless the gradients of the bound can be written to two arrays, and returns the inputs
// apart from them. Not even in place: rows with +inf are looked at again when the gradients are
// there.
py::tuple apart_from_gradients(const py::array& joint, const py::object& q_logits,
                               const py::object& weights, const py::object& in_logits,
                               const py::object& in_joint) {
    if (!fits(in_logits, joint)) check_out(in_logits, joint.attr("shape"), joint.dtype(), "out[0]");
    if (!fits(in_joint, joint)) check_out(in_joint, joint.attr("shape"), joint.dtype(), "out[1]");
    const auto first = py::reinterpret_borrow<py::array>(in_logits);
    const auto second = py::reinterpret_borrow<py::array>(in_joint);
    if (Extent(first).meets(Extent(second)))
        throw py::value_error("the two arrays of out must not overlap");
    return py::make_tuple(apart_from(joint, {&first, &second}, true),
                          apart_from(q_logits, {&first, &second}, true),
                          apart_from(weights, {&first, &second}, true));
}

// Raises unless there is one weight, finite and not negative, a row of the log-joint. Returns
// whether all are zero or of a size that float32 has with all digits, times a sum of a few, too.
bool check_weights(const py::array& weights, const py::array& joint) {
    const py::ssize_t n = joint.ndim() - 1;
    if (weights.ndim() != n || !std::equal(weights.shape(), weights.shape() + n, joint.shape())) {
        const py::tuple shape = joint.attr("shape");
        throw py::value_error(py::str("sample_weight must have shape {}; got {}")
                                  .format(shape[py::slice(0, n, 1)], weights.attr("shape")));
    }
    if (weights.size() == 0) return true;
    const py::array array = aligned(weights);
    std::int64_t shape[arrays::max_dimensions], strides[arrays::max_dimensions];
    std::copy_n(array.shape(), n, shape);
    std::copy_n(array.strides(), n, strides);
    const char* data = static_cast<const char*>(array.data());
    const std::int64_t size = array.size();
    constexpr double least = 0x1p-100, most = 0x1p126;
    double bad = 0;
    bool single = true;
    const auto look = [&](const runtime::Interrupt* interrupt) {
        constexpr std::int64_t chunk = 1 << 16;
        runtime::parallel(
            (size + chunk - 1) / chunk, 1, interrupt,
            [&](std::int64_t task, int, runtime::Region&) {
                arrays::Position position(task * chunk, shape, static_cast<int>(n));
                const std::int64_t last = std::min(size, (task + 1) * chunk);
                for (std::int64_t i = task * chunk; i < last; ++i, position.advance()) {
                    const double weight =
                        *reinterpret_cast<const double*>(data + position.offset(strides));
                    const bool fits = weight >= 0 && weight <= std::numeric_limits<double>::max();
                    if (!fits && bad == 0) bad = weight;
                    single = single && (weight == 0 || (weight >= least && weight <= most));
                }
            });
    };
    if (size < 4096)  // over sooner than the interpreter is let go of
        look(nullptr);
    else
        without_gil(look);
    if (bad != 0)
        throw py::value_error("sample_weight must be finite and not negative; got " +
                              std::string(py::str(py::float_(bad))));
    return single;
}

}  // namespace

AxisSet reduced_dimensions(py::ssize_t n, const py::object& axis) {
    AxisSet reduced;
    if (axis.is_none()) return reduced.set();
    const auto mark = [&](const py::handle& item) {
        if (!PyIndex_Check(item.ptr()))
            throw py::type_error("axis must be an integer, a tuple of them or None; got " +
                                 py::repr(axis).cast<std::string>());
        const Py_ssize_t given = PyNumber_AsSsize_t(item.ptr(), nullptr);  // the nearest there is
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

bool is_float64(const py::array& a) {
    return a.itemsize() == sizeof(double);
}

py::array aligned(const py::array& a) {
    return has_flag(a, py::detail::npy_api::NPY_ARRAY_ALIGNED_)
               ? a
               : a.attr("copy")().cast<py::array>();
}

// What py::array does besides, the vectors of shapes and strides, takes as long as a reduction of a
// few elements.
py::array new_array(int n_dimensions, const py::ssize_t* shape, bool is_double,
                    bool columns_first) {
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

void register_array_arguments(py::module_& module) {
    module.def(
        "reduced_axes",
        [](py::ssize_t n_dimensions, const py::object& axis) {
            const AxisSet reduced = reduced_dimensions(n_dimensions, axis);
            py::list axes;
            for (py::ssize_t d = 0; d < n_dimensions; ++d)
                if (reduced[static_cast<std::size_t>(d)]) axes.append(d);
            return py::tuple(axes);
        },
        "Which axes an argument names, as NumPy does.");
    module.def("check_out", &check_out, "Raise unless an output has a shape and type.");
    module.def("apart", &apart, "An input, or a copy if it may share memory with an output.");
    module.def("ready_operands", &ready_operands, "A log-joint and q that need no preparation.");
    module.def("check_weights", &check_weights,
               "Raise unless weights fit a log-joint; whether float32 has their size.");
    module.def("apart_from_gradients", &apart_from_gradients,
               "Inputs of the bound, apart from the arrays of its gradients.");
}

}  // namespace vbfast::python
