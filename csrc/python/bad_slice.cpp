#include "python/bad_slice.h"

namespace py = pybind11;

namespace vbfast::python {

std::string slice_name(std::int64_t number, const std::vector<std::int64_t>& outer_shape) {
    std::string name;
    for (auto length = outer_shape.rbegin(); length != outer_shape.rend(); ++length) {
        name = std::to_string(number % *length) + (name.empty() ? "" : ", ") + name;
        number /= *length;
    }
    return name;
}

void raise_bad_slice(const arrays::Call& call, const arrays::Outcome& outcome,
                     const std::string& where, const py::tuple& names) {
    const std::string name = names[static_cast<std::size_t>(outcome.bad_input)].cast<std::string>();
    std::string message = name + (where.empty() ? "" : " at row " + where);
    if (call.demands[outcome.bad_input] == arrays::Demand::proper)
        message += outcome.bad_sum == 0 ? " has no logit above -inf" : " has a logit of +inf";
    else if (outcome.bad_minimum < 0)
        message +=
            " has a negative entry, " + std::string(py::str(py::float_(outcome.bad_minimum)));
    else
        message += " sums to " + std::string(py::str(py::float_(outcome.bad_sum))) + ", not one";
    throw py::value_error(message + "; a distribution is needed");
}

}  // namespace vbfast::python
