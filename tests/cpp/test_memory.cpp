// Every allocation of every kind of call fails in turn, on whatever thread makes it: the caller
// hears of it, and the next call is right, on as many threads as before.
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <thread>
#include <vector>

#include "arrays/run.h"
#include "capi/table.h"
#include "estep/estep.h"
#include "estep/seeding.h"
#include "expect.h"
#include "failing_memory.h"
#include "linalg/batches.h"
#include "runtime/thread_count.h"

namespace {

using namespace vbfast::estep;
using vbfast::capi::function_table;
using vbfast::linalg::draw_rows;
using vbfast::linalg::matrix_gradients;
using vbfast::linalg::precision_cholesky;
using vbfast::linalg::ratio_norms;
using vbfast::linalg::subtract_symmetric;
using vbfast::runtime::parallel;
using vbfast::runtime::Region;

constexpr int num_threads = 3;

// Whether the tasks of a call all have threads at the same time: they wait for one another.
bool run_together() {
    std::atomic<int> arrived{0};
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    parallel(num_threads, num_threads, nullptr, [&](std::int64_t, int, Region&) {
        ++arrived;
        while (arrived < num_threads && std::chrono::steady_clock::now() < deadline)
            std::this_thread::yield();
    });
    return std::chrono::steady_clock::now() < deadline;
}

// `call` returns whether it had memory, by whatever way it tells; `right` whether what it computed
// is right. Returns how many allocations it takes. An allocation whose failure the call does
// without, as that of another thread, may let it end well.
template <class Call, class Right>
int fail_in_turn(const char* name, const Call& call, const Right& right) {
    EXPECT(call() && right());
    int refused = 0, allocation = 0;
    for (;; ++allocation) {
        left = allocation;
        const bool had_memory = call();
        const bool failed = left.exchange(-1) < 0;
        if (had_memory) EXPECT(right());
        if (!failed) break;
        if (!had_memory) ++refused;
        EXPECT(run_together());
        EXPECT(call() && right());
    }
    std::printf("%s: %d allocations, %d refused\n", name, allocation, refused);
    EXPECT(refused > 0);
    return allocation;
}

template <class Call>
bool had_memory(const Call& call) {
    try {
        call();
    } catch (const std::bad_alloc&) {
        return false;
    }
    return true;
}

bool close(double a, double b) {
    return std::abs(a - b) <= 1e-9 * (1 + std::abs(b));
}

// The pool and its threads are made by the first call.
void the_first_call() {
    int allocation = 0;
    for (bool failed = true; failed; ++allocation) {
        std::atomic<int> done{0};
        left = allocation;
        const bool had = had_memory([&] {
            parallel(40, num_threads, nullptr, [&](std::int64_t, int, Region&) { ++done; });
        });
        failed = left.exchange(-1) < 0;
        EXPECT(done == (had ? 40 : 0));
    }
    EXPECT(allocation > 1);
    EXPECT(run_together());
}

void tasks() {
    std::vector<std::vector<double>> results(40);
    const auto run = [&] {
        return had_memory([&] {
            parallel(40, num_threads, nullptr, [&](std::int64_t task, int, Region&) {
                results[static_cast<std::size_t>(task)] =
                    std::vector<double>(1000, static_cast<double>(task));
            });
        });
    };
    EXPECT(fail_in_turn("tasks", run, [&] { return results[39][999] == 39; }) >= 40);
}

// Many slices, and one long one that is cut into ranges.
void array_functions(std::int64_t n_rows, std::int64_t n) {
    const vbfast_f64& f = *function_table().f64;
    std::vector<double> a(n_rows * n, 0.5), out(n_rows * n), evidence(n_rows);
    vbfast_elbo_terms terms;
    const double expected = 0.5 + std::log(static_cast<double>(n));
    const auto told = [](std::int64_t info) {
        EXPECT(info == 0 || info == VBFAST_NO_MEMORY);
        return info == 0;
    };
    fail_in_turn(
        "logsumexp_rows",
        [&] {
            evidence.assign(evidence.size(), 0.0);
            return told(f.logsumexp_rows(n_rows, n, a.data(), n, 1, evidence.data(), num_threads));
        },
        [&] { return close(evidence[0], expected) && close(evidence[n_rows - 1], expected); });
    fail_in_turn(
        "softmax_rows",
        [&] {
            return told(f.softmax_rows(n_rows, n, a.data(), n, 1, out.data(), n, 1, num_threads));
        },
        [&] { return close(out[n_rows * n - 1] * static_cast<double>(n), 1); });
    fail_in_turn(
        "elbo_rows",
        [&] {
            return told(f.elbo_rows(n_rows, n, a.data(), n, 1, VBFAST_LOGITS, a.data(), n, 1,
                                    nullptr, nullptr, &terms, num_threads));
        },
        [&] { return close(terms.elbo, expected * static_cast<double>(n_rows)); });
}

void a_long_slice() {
    const vbfast_f64& f = *function_table().f64;
    const std::vector<double> a(5000, 0.25);
    double value = 0;
    fail_in_turn(
        "logsumexp",
        [&] {
            value = f.logsumexp(5000, a.data(), 1);
            return !std::isnan(value);
        },
        [&] { return close(value, 0.25 + std::log(5000.0)); });
}

template <class T>
void pass(Form form, Moments moments, bool split) {
    // Full: large enough for gathered moments and gradients, and for packing on several threads.
    const bool full = form == Form::full;
    const std::int64_t N = full ? 128 : 2048, K = full ? 16 : 8, D = full ? 64 : 9;
    const std::int64_t factors = form == Form::full   ? K * D * D
                                 : form == Form::tied ? D * D
                                                      : K * D;
    std::vector<double> offset(K), means(K * D), factor(factors);
    for (std::size_t i = 0; i < means.size(); ++i) means[i] = static_cast<double>(i % 7) - 3;
    const bool matrices = full || form == Form::tied;
    if (!matrices) factor.assign(factors, 1.0);
    for (std::int64_t i = 0; matrices && i < factors; i += D * D)
        for (std::int64_t d = 0; d < D; ++d) factor[i + d * D + d] = 1;
    std::vector<T> rows(N * D, T(0.5)), gradient(N * D);
    std::vector<double> weight(K), first(K * D), second(K * D * D);
    double total = 0;
    std::vector<std::int64_t> bounds = {0, N};
    if (!split) bounds = {0, N / 4, N / 2, 3 * N / 4, N};
    const auto run = [&] {
        return had_memory([&] {
            const PassRequest request = {Assignment::posterior,
                                         moments,
                                         true,
                                         bounds,
                                         64,  // a group of float32 rows in AVX-512
                                         split,
                                         4,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         gradient.data(),
                                         nullptr};
            Workspace workspace;
            const auto estep =
                make_estep<T>({form, K, D, offset.data(), means.data(), factor.data()}, request,
                              workspace, num_threads, nullptr);
            const RowBlock block = {0,
                                    rows.data(),
                                    static_cast<std::int64_t>(D * sizeof(T)),
                                    sizeof(T),
                                    N,
                                    nullptr,
                                    nullptr,
                                    nullptr,
                                    nullptr,
                                    nullptr,
                                    0};
            EXPECT(estep->run({block}, num_threads, nullptr) == -1);
            estep->statistics(weight.data(), first.data(), second.data(), num_threads, nullptr);
            total = 0;
            for (double w : weight) total += w;
        });
    };
    fail_in_turn("pass", run, [&] { return std::abs(total - static_cast<double>(N)) < 1e-3; });
}

void seeding() {
    constexpr std::int64_t N = 20000, D = 4;
    const std::vector<double> rows(N * D, 1.0), candidates(3 * D, 0.0), closest(N, 100.0);
    std::vector<double> potentials;
    const auto run = [&] {
        return had_memory([&] {
            const auto pass = make_seeding<double>(candidates.data(), 3, D, {0, N / 2, N}, 64);
            const RowBlock block = {0,       rows.data(), D * 8,          8,       N, nullptr,
                                    nullptr, nullptr,     closest.data(), nullptr, 0};
            EXPECT(pass->run({block}, num_threads, nullptr) == -1);
            potentials = pass->potentials();
        });
    };
    fail_in_turn("seeding", run, [&] { return potentials == std::vector<double>(3, 80000.0); });
}

void linear_algebra() {
    constexpr std::int64_t K = 6, D = 40;
    std::vector<double> covariances(K * D * D), factors(K * D * D), norms(K), weight(K, 1.0),
        first(K * D), in_means(K * D), in_covariances(K * D * D), in_factors(K * D * D);
    std::vector<double> rows(K * D * D);
    const std::vector<std::int64_t> counts(K, D);
    for (std::int64_t i = 0; i < K * D; ++i) covariances[i * D + i % D] = 4;
    const auto run = [&] {
        return had_memory([&] {
            const vbfast::runtime::Interrupt* none = nullptr;
            EXPECT(precision_cholesky(covariances.data(), K, D, factors.data(), num_threads,
                                      none) == -1);
            ratio_norms(factors.data(), factors.data(), K, K, D, norms.data(), num_threads, none);
            matrix_gradients({weight.data(), first.data(), covariances.data()}, factors.data(), K,
                             1, D, in_means.data(), in_covariances.data(), in_factors.data(),
                             num_threads, none);
            draw_rows(factors.data(), K, in_means.data(), counts.data(), K, D, rows.data(),
                      num_threads, none);
        });
    };
    fail_in_turn("linear algebra", run, [&] {
        return factors[0] == 0.5 && close(norms[K - 1], D) && in_covariances[K * D * D - 1] == 0;
    });
}

}  // namespace

int main() {
    vbfast::runtime::set_num_threads(num_threads);  // else the first call reads the environment
    the_first_call();
    tasks();
    array_functions(600, 300);
    array_functions(2, 150000);
    a_long_slice();
    for (bool split : {false, true}) {
        pass<double>(Form::full, Moments::full, split);
        pass<float>(Form::tied, Moments::pooled, split);
        pass<float>(Form::diag, Moments::diag, split);
        pass<double>(Form::linear, Moments::first, split);
    }
    seeding();
    linear_algebra();
    return 0;
}
