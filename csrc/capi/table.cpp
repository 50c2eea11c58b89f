#include "capi/table.h"

#include "capi/rows.h"
#include "capi/slice.h"
#include "runtime/dispatch.h"
#include "runtime/threads.h"

namespace vbfast {

namespace {

template <class Functions, class T>
constexpr Functions functions = {sizeof(Functions),
                                 capi::logsumexp<T>,
                                 capi::softmax<T>,
                                 capi::log_softmax<T>,
                                 capi::entropy<T>,
                                 capi::kl_divergence<T>,
                                 capi::elbo<T>,
                                 capi::elbo_and_grad<T>,
                                 capi::logsumexp_rows<T>,
                                 capi::map_rows<T, Mapping::softmax>,
                                 capi::map_rows<T, Mapping::log_softmax>,
                                 capi::entropy_rows<T>,
                                 capi::kl_divergence_rows<T>,
                                 capi::elbo_rows<T>,
                                 capi::elbo_and_grad_rows<T>};

const char* simd_level() {
    return kernels().name;
}

}  // namespace

const vbfast_api& function_table() {
    kernels();  // chosen before anybody calls them: that may throw, and the functions must not
    get_num_threads();
    static constexpr vbfast_api table = {VBFAST_API_VERSION,
                                         sizeof(vbfast_api),
                                         &functions<vbfast_f64, double>,
                                         &functions<vbfast_f32, float>,
                                         get_num_threads,
                                         set_num_threads,
                                         simd_level};
    return table;
}

}  // namespace vbfast
