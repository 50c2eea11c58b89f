#include "capi/table.h"

#include "capi/rows.h"
#include "capi/slice.h"
#include "runtime/dispatch.h"
#include "runtime/thread_count.h"

namespace vbfast::capi {

namespace {

template <class Functions, class T>
constexpr Functions functions = {sizeof(Functions),
                                 logsumexp<T>,
                                 softmax<T>,
                                 log_softmax<T>,
                                 entropy<T>,
                                 kl_divergence<T>,
                                 elbo<T>,
                                 elbo_and_grad<T>,
                                 logsumexp_rows<T>,
                                 map_rows<T, arrays::Mapping::softmax>,
                                 map_rows<T, arrays::Mapping::log_softmax>,
                                 entropy_rows<T>,
                                 kl_divergence_rows<T>,
                                 elbo_rows<T>,
                                 elbo_and_grad_rows<T>};

const char* simd_level() {
    return runtime::level_name();
}

}  // namespace

const vbfast_api& function_table() {
    runtime::level();  // that may throw, and the functions must not
    runtime::get_num_threads();
    static constexpr vbfast_api table = {VBFAST_API_VERSION,
                                         sizeof(vbfast_api),
                                         &functions<vbfast_f64, double>,
                                         &functions<vbfast_f32, float>,
                                         runtime::get_num_threads,
                                         runtime::set_num_threads,
                                         simd_level};
    return table;
}

}  // namespace vbfast::capi
