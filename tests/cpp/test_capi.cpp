// The C function table over awkward lengths and strides, for the sanitizers, and what a slice gets
// against the same slice as a row of a matrix. The Python suite compares values.
#include "capi/table.h"

#include <cmath>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "expect.h"
#include "runtime/dispatch.h"

namespace {

bool same(double a, double b) {
    return (std::isnan(a) && std::isnan(b)) || a == b ||
           std::abs(a - b) <= 1e-5 * (1 + std::abs(b));
}

template <class Functions, class T>
void slices_are_rows(const Functions& f, std::int64_t n, std::int64_t stride, double edge) {
    std::mt19937_64 generator(7);
    std::normal_distribution<double> normal;
    const std::int64_t step = std::abs(stride), length = n * step;
    std::vector<T> a(length), b(length), out(length), other(length), more(length), last(length);
    for (T& x : a) x = static_cast<T>(normal(generator));
    for (T& x : b) x = static_cast<T>(normal(generator));
    const std::int64_t first = stride < 0 && n > 0 ? (n - 1) * step : 0;
    if (n > 2) a[step] = static_cast<T>(edge);
    const T *x = a.data() + first, *y = b.data() + first;

    T value;
    EXPECT(f.logsumexp_rows(1, n, x, 0, stride, &value, 1) == 0);
    EXPECT(same(f.logsumexp(n, x, stride), value));
    EXPECT(f.entropy_rows(1, n, VBFAST_LOGITS, x, 0, stride, &value, 1) == 0);
    EXPECT(same(f.entropy(n, VBFAST_LOGITS, x, stride), value));
    EXPECT(f.kl_divergence_rows(1, n, VBFAST_LOGITS, x, 0, stride, VBFAST_LOGITS, y, 0, stride,
                                &value, 1) == 0);
    EXPECT(same(f.kl_divergence(n, VBFAST_LOGITS, x, stride, VBFAST_LOGITS, y, stride), value));

    EXPECT(f.softmax(n, x, stride, out.data() + first, stride) == 0);
    EXPECT(f.softmax_rows(1, n, x, 0, stride, other.data(), 0, 1, 1) == 0);
    for (std::int64_t i = 0; i < n; ++i) EXPECT(same(out[first + i * stride], other[i]));
    EXPECT(f.log_softmax(n, x, stride, out.data() + first, stride) == 0);
    EXPECT(f.log_softmax_rows(1, n, x, 0, stride, other.data(), 0, 1, 1) == 0);
    for (std::int64_t i = 0; i < n; ++i) EXPECT(same(out[first + i * stride], other[i]));

    vbfast_elbo_terms terms, sum;
    for (const T* q : {static_cast<const T*>(nullptr), y}) {
        const std::int64_t info = f.elbo(n, x, stride, VBFAST_LOGITS, q, stride, &terms);
        EXPECT(f.elbo_and_grad(n, x, stride, q, stride, &terms, out.data() + first, stride,
                               other.data(), 1) == info);
        EXPECT(f.elbo_and_grad_rows(1, n, x, 0, stride, q, 0, stride, nullptr, nullptr, &sum,
                                    more.data(), 0, 1, last.data(), 0, 1, 1) == info);
        if (info != 0) continue;
        EXPECT(same(terms.elbo, sum.elbo) && same(terms.kl, sum.kl));
        EXPECT(same(terms.log_evidence, sum.log_evidence));
        for (std::int64_t i = 0; i < n; ++i) {
            EXPECT(same(out[first + i * stride], more[i]));
            EXPECT(same(other[i], last[i]));
        }
    }
}

// No rows, or rows of nothing, whose arrays may be null.
template <class Functions, class T>
void nothing(const Functions& f, std::int64_t n_rows, std::int64_t n) {
    std::vector<double> weights(n_rows, 2.0);
    std::vector<vbfast_elbo_terms> row_terms(n_rows, {1, 1, 1, 1, 1});
    for (int threads : {0, 1, 2})
        for (bool null : {false, true}) {
            T memory = T(0.5);
            T* any = null ? nullptr : &memory;
            std::vector<T> values(n_rows, T(1));
            EXPECT(f.logsumexp_rows(n_rows, n, any, n, 1, values.data(), threads) == 0);
            for (T value : values) EXPECT(std::isinf(value) && value < 0);
            EXPECT(f.softmax_rows(n_rows, n, any, n, 1, any, n, 1, threads) == 0);
            EXPECT(f.log_softmax_rows(n_rows, n, any, n, 1, any, n, 1, threads) == 0);
            EXPECT(f.entropy_rows(n_rows, n, VBFAST_LOGITS, any, n, 1, values.data(), threads) ==
                   0);
            for (T value : values) EXPECT(value == 0);
            EXPECT(f.kl_divergence_rows(n_rows, n, VBFAST_LOGITS, any, n, 1, VBFAST_LOGITS, any, n,
                                        1, values.data(), threads) == 0);
            for (T value : values) EXPECT(value == 0);
            for (const double* w : {static_cast<const double*>(nullptr),
                                    static_cast<const double*>(weights.data())}) {
                vbfast_elbo_terms sum = {1, 1, 1, 1, 1};
                EXPECT(f.elbo_rows(n_rows, n, any, n, 1, VBFAST_LOGITS, nullptr, n, 1, w,
                                   row_terms.data(), &sum, threads) == 0);
                EXPECT(sum.entropy == 0 && sum.kl == 0);
                EXPECT(n_rows == 0 ? sum.elbo == 0 : std::isinf(sum.elbo));
                EXPECT(f.elbo_and_grad_rows(n_rows, n, any, n, 1, nullptr, n, 1, w,
                                            row_terms.data(), &sum, any, n, 1, any, n, 1,
                                            threads) == 0);
                EXPECT(n_rows == 0 ? sum.elbo == 0 : std::isinf(sum.elbo));
            }
            EXPECT(memory == T(0.5));
        }
}

template <class Functions, class T>
void check_all(const Functions& f) {
    EXPECT(f.size == sizeof(Functions));
    for (std::int64_t n : {0, 1, 3, 16, 255, 256, 257, 2048, 2049, 70000})
        for (std::int64_t stride : {1, 2, -3})
            for (double edge : {0.5, -HUGE_VAL, HUGE_VAL, std::nan("")})
                slices_are_rows<Functions, T>(f, n, stride, edge);
    nothing<Functions, T>(f, 0, 0);
    nothing<Functions, T>(f, 0, 3);
    nothing<Functions, T>(f, 3, 0);
    const T improper[3] = {T(0.5), T(0.75), T(-0.25)};
    EXPECT(std::isnan(f.entropy(3, VBFAST_PROBS, improper, 1)));
    vbfast_elbo_terms terms;
    EXPECT(f.elbo(3, improper, 1, VBFAST_PROBS, improper, 1, &terms) == 1);
    EXPECT(std::isnan(terms.elbo));
}

// Calls from several threads, each with and without the pool.
void concurrent_callers(const vbfast_f64& f) {
    const std::vector<double> a(1 << 16, 1.0);
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([&] {
            std::vector<double> out(1 << 10);
            for (int repeat = 0; repeat < 20; ++repeat) {
                EXPECT(f.logsumexp_rows(1 << 10, 64, a.data(), 64, 1, out.data(), 2) == 0);
                for (double value : out) EXPECT(value == f.logsumexp(64, a.data(), 1));
            }
        });
    for (std::thread& caller : callers) caller.join();
}

}  // namespace

int main() {
    const vbfast_api& api = vbfast::capi::function_table();
    EXPECT(api.version == VBFAST_API_VERSION && api.size == sizeof(vbfast_api));
    EXPECT(api.simd_level() == std::string(vbfast::runtime::level_name()));
    check_all<vbfast_f64, double>(*api.f64);
    check_all<vbfast_f32, float>(*api.f32);
    concurrent_callers(*api.f64);
    api.set_num_threads(3);
    EXPECT(api.get_num_threads() == 3);
    return 0;
}
