// The C function table as a capsule, for compiled callers, and by name, for compilers that link to
// addresses.
#include <pybind11/pybind11.h>

#include <cstdint>

#include "capi/table.h"

namespace py = pybind11;

namespace vbfast::python {

namespace {

template <class Functions>
py::dict addresses(const Functions& functions) {
    py::dict named;
    const auto add = [&](const char* name, auto* function) {
        named[name] = reinterpret_cast<std::uintptr_t>(function);
    };
    add("logsumexp", functions.logsumexp);
    add("softmax", functions.softmax);
    add("log_softmax", functions.log_softmax);
    add("entropy", functions.entropy);
    add("kl_divergence", functions.kl_divergence);
    add("elbo", functions.elbo);
    add("elbo_and_grad", functions.elbo_and_grad);
    add("logsumexp_rows", functions.logsumexp_rows);
    add("softmax_rows", functions.softmax_rows);
    add("log_softmax_rows", functions.log_softmax_rows);
    add("entropy_rows", functions.entropy_rows);
    add("kl_divergence_rows", functions.kl_divergence_rows);
    add("elbo_rows", functions.elbo_rows);
    add("elbo_and_grad_rows", functions.elbo_and_grad_rows);
    return named;
}

}  // namespace

void register_capi(py::module_& module) {
    const vbfast_api& table = capi::function_table();
    module.attr("_C_API") = py::capsule(&table, VBFAST_CAPSULE_NAME);
    module.attr("C_API_VERSION") = table.version;
    py::dict functions;
    functions["f64"] = addresses(*table.f64);
    functions["f32"] = addresses(*table.f32);
    module.attr("C_FUNCTIONS") = functions;
}

}  // namespace vbfast::python
