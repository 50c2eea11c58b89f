// A pass against scalar loops over its definition: every form and kind of moments, with components
// that overlap, that have few rows each (which are gathered) and that lie far from one another.
#include "estep/estep.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "expect.h"
#include "problem.h"

namespace {

using namespace problem;
using namespace vbfast::estep;

// The slopes of a log-joint in the features of the row.
std::vector<double> slopes(const Problem& p, std::int64_t n, std::int64_t k) {
    std::vector<double> all(p.D, 0.0);
    if (p.form == Form::linear) {
        std::copy_n(p.coefficients.data() + k * p.D, p.D, all.data());
        return all;
    }
    const std::vector<double> z = whitened(p, n, k);
    for (std::int64_t d = 0; d < p.D; ++d)
        for (std::int64_t e = d; e < p.D; ++e) all[d] -= factor(p, k, d, e) * z[e];
    return all;
}

struct Expected {
    std::vector<double> log_joint, evidence, resp, gradient, weight, first, second;
    std::vector<std::int64_t> labels;
};

// Adds what row n owes component k, with its weight, to the second moments.
void add_second(const Problem& p, Moments moments, std::int64_t n, std::int64_t k, double weight,
                std::vector<double>& second) {
    const std::int64_t D = p.D;
    for (std::int64_t d = 0; d < D; ++d) {
        const double square = weight * centred(p, n, k, d) * centred(p, n, k, d);
        if (moments == Moments::diag) second[k * D + d] += square;
        if (moments == Moments::spherical) second[k] += square / static_cast<double>(D);
        if (moments != Moments::full && moments != Moments::pooled) continue;
        const std::int64_t matrix = moments == Moments::full ? k : 0;
        for (std::int64_t e = 0; e < D; ++e)
            second[(matrix * D + d) * D + e] += weight * centred(p, n, k, d) * centred(p, n, k, e);
    }
}

Expected expect(const Problem& p, Moments moments, Assignment assignment,
                const std::vector<double>& given) {
    const std::int64_t N = p.N, K = p.K, D = p.D;
    Expected all;
    all.log_joint.resize(N * K);
    all.resp.resize(N * K);
    all.gradient.resize(N * D);
    all.weight.resize(K);
    all.first.resize(K * D);
    all.second.resize(moments == Moments::full        ? K * D * D
                      : moments == Moments::pooled    ? D * D
                      : moments == Moments::spherical ? K
                      : moments == Moments::diag      ? K * D
                                                      : 0);
    for (std::int64_t n = 0; n < N; ++n) {
        double* joint = all.log_joint.data() + n * K;
        double* resp = all.resp.data() + n * K;
        for (std::int64_t k = 0; k < K; ++k) joint[k] = log_joint(p, n, k);
        const std::int64_t label = std::max_element(joint, joint + K) - joint;
        double sum = 0;
        for (std::int64_t k = 0; k < K; ++k) sum += std::exp(joint[k] - joint[label]);
        all.evidence.push_back(joint[label] + std::log(sum));
        all.labels.push_back(label);
        for (std::int64_t k = 0; k < K; ++k) {
            const double posterior = std::exp(joint[k] - all.evidence.back());
            resp[k] = assignment == Assignment::given  ? given[n * K + k]
                      : assignment == Assignment::hard ? (k == label ? 1.0 : 0.0)
                                                       : posterior;
            const std::vector<double> slope = slopes(p, n, k);
            for (std::int64_t d = 0; d < D; ++d) {
                all.gradient[n * D + d] += posterior * slope[d];
                all.first[k * D + d] += p.weights[n] * resp[k] * centred(p, n, k, d);
            }
            all.weight[k] += p.weights[n] * resp[k];
            add_second(p, moments, n, k, p.weights[n] * resp[k], all.second);
        }
    }
    return all;
}

// Within `tolerance` of the largest number, or of one.
template <class T>
void expect_near(const std::vector<T>& found, const std::vector<double>& expected,
                 double tolerance) {
    EXPECT(found.size() >= expected.size());
    double size = 1;
    for (double x : expected) size = std::max(size, std::abs(x));
    for (std::size_t i = 0; i < expected.size(); ++i)
        EXPECT(std::abs(static_cast<double>(found[i]) - expected[i]) <= tolerance * size);
}

template <class T>
void check(const Problem& p, Moments moments, Assignment assignment) {
    const double tolerance = sizeof(T) == 8 ? 1e-11 : 2e-4;
    const std::int64_t N = p.N, K = p.K, D = p.D;
    const std::vector<double> given(N * K, 1.0 / static_cast<double>(K));
    const Expected all = expect(p, moments, assignment, given);
    const std::vector<T> rows(p.rows.begin(), p.rows.end()), share(given.begin(), given.end());
    std::vector<T> evidence(N), resp(N * K), gradient(N * D), joint(N * K);
    std::vector<std::int64_t> labels(N);
    const bool posterior = assignment == Assignment::posterior;
    const PassRequest request = {assignment,
                                 moments,
                                 true,
                                 {0, N / 3, N},
                                 64,
                                 false,
                                 2,
                                 evidence.data(),
                                 labels.data(),
                                 resp.data(),
                                 nullptr,
                                 nullptr,
                                 posterior ? gradient.data() : nullptr,
                                 posterior ? joint.data() : nullptr};
    Workspace workspace;
    const auto estep =
        make_estep<T>({p.form, K, D, p.offset.data(), p.means.data(), p.coefficients.data()},
                      request, workspace, 2, nullptr);
    const RowBlock block = {0,
                            rows.data(),
                            static_cast<std::int64_t>(D * sizeof(T)),
                            sizeof(T),
                            N,
                            p.weights.data(),
                            assignment == Assignment::given ? share.data() : nullptr,
                            nullptr,
                            nullptr,
                            nullptr,
                            0};
    EXPECT(estep->run({block}, 2, nullptr) == -1);
    expect_near(evidence, all.evidence, tolerance);
    expect_near(resp, all.resp, 100 * tolerance);
    EXPECT(labels == all.labels);
    if (posterior) {
        expect_near(joint, all.log_joint, tolerance);
        expect_near(gradient, all.gradient, 100 * tolerance);
    }
    if (moments == Moments::none) return;
    std::vector<double> weight(K), first(K * D), second(all.second.size() + 1);
    estep->statistics(weight.data(), first.data(), second.data(), 2, nullptr);
    expect_near(weight, all.weight, 100 * tolerance);
    expect_near(first, all.first, 100 * tolerance);
    expect_near(second, all.second, 100 * tolerance);
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
            for (std::int64_t D : {1, 2, 7, 16, 33})
                for (std::int64_t K : {1, 3, 9})
                    for (double spread : {0.5, 20.0}) {
                        if (form == Form::linear && spread > 1) continue;  // overflows nothing else
                        check<T>(make_problem<T>(form, 129, K, D, spread, 3.0), moments,
                                 assignment);
                    }
}

}  // namespace

int main() {
    check_all<double>();
    check_all<float>();
    return 0;
}
