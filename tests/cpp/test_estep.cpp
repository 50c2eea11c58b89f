// Every kernel once over awkward shapes, for the sanitizers; values against the definition. The
// Python suite compares everything else.
#include "estep/estep.h"
#include "estep/seeding.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "expect.h"

namespace {

using namespace vbfast::estep;

template <class T>
void check(Form form, Moments moments, Assignment assignment, std::int64_t N, std::int64_t K,
           std::int64_t D, bool split) {
    std::mt19937_64 generator(42);
    std::normal_distribution<double> normal;
    const std::int64_t factors = form == Form::full        ? K * D * D
                                 : form == Form::tied      ? D * D
                                 : form == Form::spherical ? K
                                                           : K * D;
    std::vector<double> offset(K), means(K * D), factor(factors), weights(N);
    std::vector<T> rows(N * D), resp(N * K), evidence(N), gradient(N * D);
    std::vector<std::int64_t> labels(N);
    for (double& m : means) m = normal(generator);
    for (T& x : rows) x = static_cast<T>(normal(generator));
    for (std::int64_t n = 0; n < N; ++n) weights[n] = n % 5 == 1 ? 0.0 : 1.5;
    for (double& p : factor) p = 1.0;  // every factor's upper triangle, and all scales, are one
    const bool linear = form == Form::linear;
    if (linear) factor = means;

    const std::vector<std::int64_t> bounds =
        split ? std::vector<std::int64_t>{0, N} : std::vector<std::int64_t>{0, N / 4, N / 2, N};
    const PassRequest request = {
        assignment,      moments,       true,        bounds,  64,      split,           2,
        evidence.data(), labels.data(), resp.data(), nullptr, nullptr, gradient.data(), nullptr};
    const MixtureParameters parameters = {form, K, D, offset.data(), means.data(), factor.data()};
    Workspace workspace;
    const auto estep = make_estep<T>(parameters, request, workspace, 2, nullptr);
    const std::vector<T> given(N * K, static_cast<T>(1.0 / static_cast<double>(K)));
    const RowBlock block = {0,
                            rows.data(),
                            static_cast<std::int64_t>(D * sizeof(T)),
                            sizeof(T),
                            N,
                            weights.data(),
                            assignment == Assignment::given ? given.data() : nullptr,
                            nullptr,
                            nullptr,
                            nullptr,
                            0};
    EXPECT(estep->run({block}, 2, nullptr) == -1);
    std::vector<double> weight(K), first(K * D), second(K * D * D + D * D);
    if (moments != Moments::none)
        estep->statistics(weight.data(), first.data(), second.data(), 2, nullptr);

    double total = 0, sum = 0;
    for (double w : weights) total += w;
    for (double w : weight) sum += w;
    EXPECT(std::abs(estep->sums().weight - total) < 1e-9);
    if (moments != Moments::none) EXPECT(std::abs(sum - total) < 1e-4 * total);
    if (form != Form::spherical && !linear) return;
    for (std::int64_t n = 0; n < N; ++n) {
        double likelihood = 0;
        for (std::int64_t k = 0; k < K; ++k) {
            double log_joint = 0;
            for (std::int64_t d = 0; d < D; ++d) {
                const double x = static_cast<double>(rows[n * D + d]), mean = means[k * D + d];
                log_joint += linear ? x * mean : -0.5 * std::pow(x - mean, 2);
            }
            likelihood += std::exp(log_joint);
        }
        EXPECT(std::abs(static_cast<double>(evidence[n]) - std::log(likelihood)) < 1e-3);
        if (assignment != Assignment::posterior) continue;
        for (std::int64_t d = 0; d < D; ++d) {
            double slope = 0;
            for (std::int64_t k = 0; k < K; ++k)
                slope += static_cast<double>(resp[n * K + k]) *
                         (means[k * D + d] - (linear ? 0 : static_cast<double>(rows[n * D + d])));
            EXPECT(std::abs(static_cast<double>(gradient[n * D + d]) - slope) < 1e-3);
        }
    }
}

template <class T>
void check_all() {
    const std::pair<Form, Moments> kinds[] = {
        {Form::full, Moments::full},       {Form::tied, Moments::pooled},
        {Form::diag, Moments::diag},       {Form::spherical, Moments::spherical},
        {Form::spherical, Moments::first}, {Form::full, Moments::none},
        {Form::linear, Moments::first},    {Form::linear, Moments::full}};
    for (const auto& [form, moments] : kinds)
        for (Assignment assignment : {Assignment::posterior, Assignment::hard, Assignment::given})
            for (std::int64_t D : {1, 2, 7, 16, 25, 33, 130})
                for (std::int64_t K : {1, 3, 9})
                    for (bool split : {false, true})
                        check<T>(form, moments, assignment, 129, K, D, split);
}

// One tile of a large model: an interrupt ends the local step, and the summary step, within it.
void an_interrupt_ends_a_tile(Form form, Moments moments, bool gradient) {
    const bool full = form == Form::full;
    const std::int64_t K = full ? 256 : 40000, D = full ? 256 : 64, rows = 512;
    std::vector<double> offset(K), means(K * D), factor(full ? K * D * D : K * D, 1.0);
    std::vector<double> x(rows * D, 0.25), gradients(gradient ? rows * D : 0);
    if (full) std::fill(factor.begin(), factor.end(), 0.0);
    for (std::int64_t i = 0; full && i < K * D; ++i) factor[i * D + i % D] = 1;
    const PassRequest request = {Assignment::posterior,
                                 moments,
                                 true,
                                 {0, rows},
                                 rows,
                                 false,
                                 1,
                                 nullptr,
                                 nullptr,
                                 nullptr,
                                 nullptr,
                                 nullptr,
                                 gradient ? gradients.data() : nullptr,
                                 nullptr};
    Workspace workspace;
    const auto estep = make_estep<double>({form, K, D, offset.data(), means.data(), factor.data()},
                                          request, workspace, 1, nullptr);
    const vbfast::runtime::Interrupt interrupt = {[](void*) { return true; }, nullptr};
    const RowBlock block = {0,       x.data(), D * 8,   8,       rows, nullptr,
                            nullptr, nullptr,  nullptr, nullptr, 0};
    bool interrupted = false;
    try {
        estep->run({block}, 1, &interrupt);
    } catch (const vbfast::runtime::Interrupted&) {
        interrupted = true;
    }
    EXPECT(interrupted);
}

// Passes that go by bounds find what plain ones do.
template <class T>
void bounds_change_nothing(std::int64_t N, std::int64_t K, std::int64_t D) {
    std::mt19937_64 generator(7);
    std::normal_distribution<double> normal;
    std::vector<double> offset(K), means(K * D), precision(K, 0.125);
    std::vector<T> rows(N * D);
    for (double& m : means) m = 6 * normal(generator);
    for (std::int64_t i = 0; i < N * D; ++i)
        rows[i] = static_cast<T>(means[i / D % K * D + i % D] + normal(generator));
    NearestBounds bounds(N);
    Workspace workspace;
    for (int pass = 0; pass < 8; ++pass) {
        std::vector<std::int64_t> labels[2];
        std::vector<double> weight[2], first[2];
        for (int i : {0, 1}) {
            labels[i].resize(N);
            weight[i].resize(K);
            first[i].resize(K * D);
            const PassRequest request = {Assignment::hard,
                                         Moments::first,
                                         false,
                                         {0, N / 3, N},
                                         256,
                                         false,
                                         1,
                                         nullptr,
                                         labels[i].data(),
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr};
            const auto estep = make_estep<T>(
                {Form::spherical, K, D, offset.data(), means.data(), precision.data()}, request,
                workspace, 2, nullptr, i == 0 ? nullptr : &bounds);
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
            EXPECT(estep->run({block}, 2, nullptr) == -1);
            estep->statistics(weight[i].data(), first[i].data(), nullptr, 2, nullptr);
        }
        EXPECT(labels[0] == labels[1]);
        EXPECT(weight[0] == weight[1]);
        EXPECT(first[0] == first[1]);
        for (std::int64_t i = 0; i < K * D; ++i)
            if (weight[0][i / D] > 0 && pass < 7) means[i] += 0.5 * first[0][i] / weight[0][i / D];
    }
    if (D > 16) EXPECT(bounds.met < 0.5);  // else distances take no longer than bounds
}

// However many statistics may be alive, however many threads wait for them, and however the rows
// come: the sums are the same to the bit.
void few_statistics_at_a_time() {
    constexpr std::int64_t K = 8, D = 32, rows_each = 128, n_partitions = 61, N = rows_each * 61;
    std::mt19937_64 generator(11);
    std::normal_distribution<double> normal;
    std::vector<double> offset(K), means(K * D), precision(K * D, 0.5), rows(N * D);
    for (double& m : means) m = normal(generator);
    for (double& x : rows) x = normal(generator);
    std::vector<std::int64_t> bounds;
    for (std::int64_t p = 0; p <= n_partitions; ++p) bounds.push_back(p * rows_each);
    Workspace workspace;
    const auto sums = [&](std::int64_t open, int num_threads, std::int64_t rows_at_once) {
        const PassRequest request = {Assignment::posterior,
                                     Moments::diag,
                                     true,
                                     bounds,
                                     64,
                                     false,
                                     open,
                                     nullptr,
                                     nullptr,
                                     nullptr,
                                     nullptr,
                                     nullptr,
                                     nullptr,
                                     nullptr};
        const auto estep =
            make_estep<double>({Form::diag, K, D, offset.data(), means.data(), precision.data()},
                               request, workspace, num_threads, nullptr);
        for (std::int64_t n = 0; n < N; n += rows_at_once) {
            const RowBlock block = {n,
                                    rows.data() + n * D,
                                    D * 8,
                                    8,
                                    std::min(rows_at_once, N - n),
                                    nullptr,
                                    nullptr,
                                    nullptr,
                                    nullptr,
                                    nullptr,
                                    0};
            EXPECT(estep->run({block}, num_threads, nullptr) == -1);
        }
        std::vector<double> all(K + 2 * K * D);
        estep->statistics(all.data(), all.data() + K, all.data() + K + K * D, num_threads, nullptr);
        all.push_back(estep->sums().log_evidence);
        return all;
    };
    const std::vector<double> expected = sums(n_partitions, 1, N);
    for (std::int64_t open : {1, 2, 7, 61})
        for (int num_threads : {1, 4, 24})
            for (std::int64_t rows_at_once : {std::int64_t{64}, std::int64_t{320}, N})
                EXPECT(sums(open, num_threads, rows_at_once) == expected);
}

void seeding() {
    const std::vector<double> rows = {0.0, 1.0, 5.0}, candidates = {0.0, 5.0};
    std::vector<double> closest = {100.0, 100.0, 100.0};
    const auto pass = make_seeding<double>(candidates.data(), 2, 1, {0, 3}, 64);
    std::vector<double> lowered(6);
    const RowBlock block = {
        0, rows.data(), 8, 8, 3, nullptr, nullptr, nullptr, closest.data(), lowered.data(), 3};
    EXPECT(pass->run({block}, 1, nullptr) == -1);
    EXPECT(pass->potentials() == std::vector<double>({26.0, 41.0}));
    EXPECT(lowered == std::vector<double>({0, 1, 25, 25, 16, 0}));
}

}  // namespace

int main() {
    check_all<double>();
    check_all<float>();
    bounds_change_nothing<double>(5000, 70, 120);
    bounds_change_nothing<float>(5000, 70, 120);
    bounds_change_nothing<double>(9000, 131, 64);
    bounds_change_nothing<float>(9000, 131, 64);
    few_statistics_at_a_time();
    seeding();
    an_interrupt_ends_a_tile(Form::full, Moments::none, false);
    an_interrupt_ends_a_tile(Form::full, Moments::full, false);
    an_interrupt_ends_a_tile(Form::full, Moments::none, true);
    an_interrupt_ends_a_tile(Form::spherical, Moments::none, false);
    an_interrupt_ends_a_tile(Form::linear, Moments::none, true);
    return 0;
}
