// Truncated passes against scalar loops over their definition: every form, rows of any strides, and
// the same bits for every number of threads.
#include "estep/truncated.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <utility>
#include <vector>

#include "estep/candidate_lists.h"
#include "expect.h"
#include "problem.h"

namespace {

using namespace problem;
using namespace vbfast::estep;

constexpr std::int64_t kept_components = 3, near_components = 4, drawn = 2;
constexpr std::uint64_t key = 0xfedcba9876543210u;

struct Found {
    std::vector<std::int32_t> kept, near;
    std::vector<std::int64_t> counts;
    std::vector<double> differences;
    std::vector<double> evidence, resp, weight, first, second;
    TileSums sums;
};

bool close(double a, double b, double tolerance) {
    return a == b || std::fabs(a - b) <= tolerance * std::max(1.0, std::fabs(b));
}

std::vector<std::int32_t> some_components(std::int64_t size, std::int64_t K, std::uint64_t seed) {
    std::vector<std::int32_t> all;
    for (std::int64_t i = 0; i < size; ++i) {
        const std::uint64_t bits = mixed_bits(seed, static_cast<std::uint64_t>(i));
        all.push_back(static_cast<std::int32_t>(bits % static_cast<std::uint64_t>(K + 1)) - 1);
    }
    return all;
}

template <class T>
Found run(const Problem& p, Moments moments, std::int64_t second_size, int threads) {
    const MixtureParameters parameters = {
        p.form, p.K, p.D, p.offset.data(), p.means.data(), p.coefficients.data()};
    const std::vector<std::int32_t> neighbors = some_components(p.K * near_components, p.K, 1);
    const std::vector<std::int32_t> candidates = {0, static_cast<std::int32_t>(p.K - 1)};
    TruncatedRequest request{};
    request.assignment = Assignment::posterior;
    request.moments = moments;
    request.n_kept = kept_components;
    request.n_neighbors = near_components;
    request.n_random = drawn;
    request.key = key;
    request.neighbors = neighbors.data();
    request.candidates = candidates.data();
    request.n_candidates = 2;
    request.learn = true;
    Workspace workspace;
    const auto pass = make_truncated_pass<T>(parameters, request, workspace, threads, nullptr);

    Found found;
    found.kept = some_components(p.N * kept_components, p.K, 2);
    std::vector<T> rows, evidence(p.N), resp(p.N * kept_components);
    for (std::int64_t i = 0; i < p.N * p.D; ++i) {  // two numbers apart
        rows.push_back(static_cast<T>(p.rows[i]));
        rows.push_back(T(1e30));
    }
    // In two calls.
    for (const auto& [start, stop] :
         {std::pair<std::int64_t, std::int64_t>{0, p.N / 3}, {p.N / 3, p.N}}) {
        TruncatedRows block{};
        const std::int64_t size = sizeof(T);
        block.at = {reinterpret_cast<const char*>(rows.data() + 2 * start * p.D), 2 * p.D * size,
                    2 * size};
        block.start = start;
        block.n_rows = stop - start;
        block.weights = p.weights.data() + start;
        block.kept = found.kept.data() + start * kept_components;
        block.log_evidence = evidence.data() + start;
        block.resp = resp.data() + start * kept_components;
        EXPECT(pass->run(block, threads, nullptr) == -1);
    }
    found.evidence.assign(evidence.begin(), evidence.end());
    found.resp.assign(resp.begin(), resp.end());
    found.sums = pass->sums();
    found.near.assign(p.K * near_components, -1);
    found.counts.assign(p.K * near_components, 0);
    found.differences.assign(p.K * near_components, 0.0);
    pass->learned(found.near.data(), found.counts.data(), found.differences.data());
    found.weight.resize(p.K);
    found.first.resize(p.K * p.D);
    found.second.resize(second_size);
    pass->statistics(found.weight.data(), found.first.data(), found.second.data(), threads,
                     nullptr);
    return found;
}

// What row n is evaluated under.
std::set<std::int32_t> searched(const Problem& p, const std::vector<std::int32_t>& neighbors,
                                const std::int32_t* kept, std::int64_t n) {
    std::set<std::int32_t> all = {0, static_cast<std::int32_t>(p.K - 1)};
    for (std::int64_t c = 0; c < kept_components; ++c) {
        if (kept[c] < 0) continue;
        all.insert(kept[c]);
        for (std::int64_t g = 0; g < near_components; ++g)
            all.insert(neighbors[kept[c] * near_components + g]);
    }
    for (std::int64_t e = 0; e < drawn; ++e) {
        const auto counter = static_cast<std::uint64_t>(n * drawn + e);
        all.insert(static_cast<std::int32_t>(
            (mixed_bits(key, counter) >> 32) * static_cast<std::uint64_t>(p.K) >> 32));
    }
    all.erase(-1);
    return all;
}

template <class T>
void check(Form form, Moments moments, std::int64_t second_size, std::int64_t N, std::int64_t K,
           std::int64_t D, double spread, double shift) {
    const Problem p = make_problem<T>(form, N, K, D, spread, shift);
    const Found found = run<T>(p, moments, second_size, 1);
    const std::vector<std::int32_t> before = some_components(N * kept_components, K, 2);
    const std::vector<std::int32_t> neighbors = some_components(K * near_components, K, 1);
    const double tolerance = sizeof(T) == 8 ? 1e-10 : 2e-3;
    std::vector<double> weight(K, 0.0), first(K * D, 0.0);
    double total = 0;
    for (std::int64_t n = 0; n < N; ++n) {
        std::vector<double> values;
        const std::set<std::int32_t> all =
            searched(p, neighbors, before.data() + n * kept_components, n);
        for (const std::int32_t k : all) values.push_back(log_joint(p, n, k));
        std::sort(values.rbegin(), values.rend());
        const std::int32_t* kept = found.kept.data() + n * kept_components;
        double sum = 0;
        for (std::int64_t c = 0; c < kept_components; ++c) {
            EXPECT(all.count(kept[c]) == 1);
            const double value = log_joint(p, n, kept[c]);
            EXPECT(close(value, values[static_cast<std::size_t>(c)], tolerance));
            sum += std::exp(value - values[0]);
        }
        const double evidence = values[0] + std::log(sum);
        EXPECT(close(found.evidence[n], evidence, tolerance));
        total += p.weights[n] * evidence;
        for (std::int64_t c = 0; c < kept_components; ++c) {
            const double r = found.resp[n * kept_components + c];
            EXPECT(std::fabs(r - std::exp(log_joint(p, n, kept[c]) - evidence)) < 10 * tolerance);
            weight[kept[c]] += p.weights[n] * r;
            for (std::int64_t d = 0; d < D; ++d)
                first[kept[c] * D + d] += p.weights[n] * r * centred(p, n, kept[c], d);
        }
    }
    EXPECT(close(found.sums.log_evidence, total, tolerance));
    for (std::int64_t k = 0; k < K; ++k) EXPECT(close(found.weight[k], weight[k], tolerance));
    for (std::int64_t i = 0; i < K * D; ++i)
        EXPECT(std::fabs(found.first[i] - first[i]) <= 10 * tolerance * std::max(1.0, spread));
    for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t g = 0; g < near_components; ++g) {
            const std::int64_t at = k * near_components + g;
            EXPECT(found.near[at] < K);
            EXPECT((found.near[at] >= 0) == (found.counts[at] > 0));
            if (found.near[at] == k) EXPECT(found.differences[at] == 0.0);
        }

    const Found again = run<T>(p, moments, second_size, 3);
    EXPECT(again.kept == found.kept && again.near == found.near);
    EXPECT(again.counts == found.counts && again.differences == found.differences);
    EXPECT(again.evidence == found.evidence && again.resp == found.resp);
    EXPECT(again.weight == found.weight && again.first == found.first);
    EXPECT(again.second == found.second);
    EXPECT(again.sums.log_evidence == found.sums.log_evidence);
}

template <class T>
void check_forms() {
    const std::int64_t N = 300, K = 23;
    for (const std::int64_t D : {1, 9, 66})
        for (const double shift : {0.0, 3000.0}) {
            check<T>(Form::full, Moments::full, K * D * D, N, K, D, 1.0, shift);
            check<T>(Form::tied, Moments::pooled, D * D, N, K, D, 2.0, shift);
            check<T>(Form::diag, Moments::diag, K * D, N, K, D, 2.0, shift);
            check<T>(Form::spherical, Moments::spherical, K, N, K, D, 4.0, shift);
        }
    check<T>(Form::linear, Moments::first, 0, N, K, 12, 1.0, 0.0);
}

}  // namespace

int main() {
    check_forms<double>();
    check_forms<float>();
}
