// Every array function against a scalar loop over its definition, along rows and down columns.
#include "capi/table.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "expect.h"

namespace {

struct Distribution {
    double log_sum;             // of the exponentials of the logits
    std::vector<double> log_q;  // normalised
};

template <class T>
Distribution normalise(const std::vector<T>& logits) {
    const double largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
    double sum = 0;
    for (T a : logits) sum += std::exp(static_cast<double>(a) - largest);
    Distribution result{largest + std::log(sum), {}};
    for (T a : logits) result.log_q.push_back(static_cast<double>(a) - result.log_sum);
    return result;
}

// sum q (a - b) for logarithms of q.
double mean_difference(const std::vector<double>& log_q, const std::vector<double>& a,
                       const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < log_q.size(); ++i) sum += std::exp(log_q[i]) * (a[i] - b[i]);
    return sum;
}

template <class T>
void near(T found, double expected) {
    const double tolerance = sizeof(T) == 8 ? 1e-11 : 1e-4;
    EXPECT(std::abs(static_cast<double>(found) - expected) <= tolerance * (1 + std::abs(expected)));
}

// A matrix of slices: along its rows, or down its columns.
struct Layout {
    std::int64_t n_slices, n;
    bool columns;
    std::int64_t from_slice() const { return columns ? 1 : n; }
    std::int64_t along() const { return columns ? n_slices : 1; }
    std::int64_t at(std::int64_t s, std::int64_t i) const { return s * from_slice() + i * along(); }
};

template <class Functions, class T>
void check(const Functions& f, const Layout& l) {
    std::mt19937_64 generator(5);
    std::normal_distribution<double> normal;
    const std::int64_t size = l.n_slices * l.n, step = l.from_slice(), along = l.along();
    std::vector<T> a(size), b(size), probs(size), soft(size), log_soft(size), in_q(size),
        in_a(size);
    for (T& x : a) x = static_cast<T>(3 * normal(generator));
    for (T& x : b) x = static_cast<T>(3 * normal(generator));
    std::vector<T> log_sum(l.n_slices), entropy(l.n_slices), kl(l.n_slices);
    std::vector<T> probs_entropy(l.n_slices), mixed_kl[3];
    std::vector<vbfast_elbo_terms> terms(l.n_slices), own(l.n_slices);
    vbfast_elbo_terms sum;
    const auto slices = l.n_slices;
    EXPECT(f.softmax_rows(slices, l.n, b.data(), step, along, probs.data(), step, along, 1) == 0);
    EXPECT(f.logsumexp_rows(slices, l.n, a.data(), step, along, log_sum.data(), 1) == 0);
    EXPECT(f.softmax_rows(slices, l.n, a.data(), step, along, soft.data(), step, along, 1) == 0);
    EXPECT(f.log_softmax_rows(slices, l.n, a.data(), step, along, log_soft.data(), step, along,
                              1) == 0);
    EXPECT(f.entropy_rows(slices, l.n, VBFAST_LOGITS, b.data(), step, along, entropy.data(), 1) ==
           0);
    EXPECT(f.entropy_rows(slices, l.n, VBFAST_PROBS, probs.data(), step, along,
                          probs_entropy.data(), 1) == 0);
    EXPECT(f.kl_divergence_rows(slices, l.n, VBFAST_LOGITS, b.data(), step, along, VBFAST_LOGITS,
                                a.data(), step, along, kl.data(), 1) == 0);
    for (int kind : {0, 1, 2}) {
        mixed_kl[kind].resize(slices);
        const int of_q = kind == 0 ? VBFAST_LOGITS : VBFAST_PROBS;
        const int of_p = kind == 1 ? VBFAST_LOGITS : VBFAST_PROBS;
        EXPECT(f.kl_divergence_rows(slices, l.n, of_q,
                                    of_q == VBFAST_PROBS ? probs.data() : b.data(), step, along,
                                    of_p, of_p == VBFAST_PROBS ? soft.data() : a.data(), step,
                                    along, mixed_kl[kind].data(), 1) == 0);
    }
    EXPECT(f.elbo_rows(slices, l.n, a.data(), step, along, VBFAST_LOGITS, nullptr, step, along,
                       nullptr, own.data(), &sum, 1) == 0);
    EXPECT(f.elbo_and_grad_rows(slices, l.n, a.data(), step, along, b.data(), step, along, nullptr,
                                terms.data(), &sum, in_q.data(), step, along, in_a.data(), step,
                                along, 1) == 0);
    for (std::int64_t s = 0; s < slices; ++s) {
        std::vector<T> x, y;
        for (std::int64_t i = 0; i < l.n; ++i) {
            x.push_back(a[l.at(s, i)]);
            y.push_back(b[l.at(s, i)]);
        }
        const Distribution p = normalise(x), q = normalise(y);
        const std::vector<double> joint(x.begin(), x.end()), zero(x.size(), 0.0);
        const double expected = mean_difference(q.log_q, joint, zero);
        const double entropy_of_q = mean_difference(q.log_q, zero, q.log_q);
        const double elbo = expected + entropy_of_q;
        near(log_sum[s], p.log_sum);
        near(entropy[s], entropy_of_q);
        near(probs_entropy[s], entropy_of_q);
        near(kl[s], mean_difference(q.log_q, q.log_q, p.log_q));
        for (const auto& values : mixed_kl) near(values[s], static_cast<double>(kl[s]));
        near(static_cast<T>(own[s].elbo), p.log_sum);
        near(static_cast<T>(own[s].entropy), mean_difference(p.log_q, zero, p.log_q));
        near(static_cast<T>(terms[s].elbo), elbo);
        near(static_cast<T>(terms[s].expected_log_joint), expected);
        near(static_cast<T>(terms[s].entropy), entropy_of_q);
        near(static_cast<T>(terms[s].log_evidence), p.log_sum);
        near(static_cast<T>(terms[s].kl), p.log_sum - elbo);
        for (std::int64_t i = 0; i < l.n; ++i) {
            const double share = std::exp(q.log_q[i]);
            near(soft[l.at(s, i)], std::exp(p.log_q[i]));
            near(log_soft[l.at(s, i)], p.log_q[i]);
            near(in_a[l.at(s, i)], share);
            near(in_q[l.at(s, i)], share * (joint[i] - q.log_q[i] - elbo));
        }
    }
}

template <class Functions, class T>
void check_all(const Functions& f) {
    for (std::int64_t n : {1, 2, 3, 8, 31, 256, 2049})
        for (std::int64_t n_slices : {1, 5, 17})
            for (bool columns : {false, true}) check<Functions, T>(f, {n_slices, n, columns});
}

}  // namespace

int main() {
    const vbfast_api& api = vbfast::capi::function_table();
    check_all<vbfast_f64, double>(*api.f64);
    check_all<vbfast_f32, float>(*api.f32);
    return 0;
}
