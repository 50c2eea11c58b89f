// A pass against scalar loops over its definition: every form and kind of moments, with components
// that overlap, that have few rows each (which are gathered) and that lie far from one another.
#include "estep/estep.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "expect.h"

namespace {

using namespace vbfast::estep;

struct Problem {
    Form form;
    std::int64_t N, K, D;
    std::vector<double> offset, means, coefficients, weights;
    std::vector<double> rows;  // (N, D), numbers of the precision of the pass
};

// The factor of component k: entry (d, e) of an upper triangle, of a diagonal or of a scale.
double factor(const Problem& p, std::int64_t k, std::int64_t d, std::int64_t e) {
    switch (p.form) {
        case Form::full:
            return p.coefficients[(k * p.D + d) * p.D + e];
        case Form::tied:
            return p.coefficients[d * p.D + e];
        case Form::diag:
            return d == e ? p.coefficients[k * p.D + d] : 0.0;
        case Form::spherical:
            return d == e ? p.coefficients[k] : 0.0;
        case Form::linear:
            break;
    }
    return 0.0;
}

double centred(const Problem& p, std::int64_t n, std::int64_t k, std::int64_t d) {
    return p.rows[n * p.D + d] - p.means[k * p.D + d];
}

// (x_n - mean_k) P_k.
std::vector<double> whitened(const Problem& p, std::int64_t n, std::int64_t k) {
    std::vector<double> z(p.D, 0.0);
    for (std::int64_t d = 0; d < p.D; ++d)
        for (std::int64_t e = d; e < p.D; ++e) z[e] += centred(p, n, k, d) * factor(p, k, d, e);
    return z;
}

double log_joint(const Problem& p, std::int64_t n, std::int64_t k) {
    double sum = p.offset[k];
    if (p.form == Form::linear)
        for (std::int64_t d = 0; d < p.D; ++d)
            sum += p.rows[n * p.D + d] * p.coefficients[k * p.D + d];
    else
        for (double z : whitened(p, n, k)) sum -= 0.5 * z * z;
    return sum;
}

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

template <class T>
Problem make_problem(Form form, std::int64_t N, std::int64_t K, std::int64_t D, double spread,
                     double shift) {
    std::mt19937_64 generator(42);
    std::normal_distribution<double> normal;
    Problem p{form, N, K, D, {}, {}, {}, {}, {}};
    const std::int64_t size = form == Form::full        ? K * D * D
                              : form == Form::tied      ? D * D
                              : form == Form::spherical ? K
                                                        : K * D;
    const bool triangular = form == Form::full || form == Form::tied;
    for (std::int64_t k = 0; k < K; ++k) p.offset.push_back(normal(generator));
    for (std::int64_t i = 0; i < K * D; ++i) p.means.push_back(spread * normal(generator) + shift);
    for (std::int64_t i = 0; i < size; ++i) {
        const std::int64_t d = i / D % D, e = i % D;
        const bool diagonal = !triangular || d == e;
        const double off_diagonal = d < e ? 0.1 * normal(generator) : 0.0;
        p.coefficients.push_back(diagonal ? 0.8 + 0.1 * normal(generator) : off_diagonal);
    }
    if (form == Form::linear)
        for (double& theta : p.coefficients) theta = normal(generator);
    for (std::int64_t n = 0; n < N; ++n) {
        p.weights.push_back(n % 5 == 1 ? 0.0 : 1.5);
        for (std::int64_t d = 0; d < D; ++d)
            p.rows.push_back(static_cast<T>(p.means[n % K * D + d] + normal(generator)));
    }
    return p;
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
