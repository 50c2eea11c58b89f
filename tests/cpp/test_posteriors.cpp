// Moments, posteriors and their terms over awkward shapes, for the sanitizers; a few values against
// the definition, and the same bits for any number of threads.
#include <cmath>
#include <random>
#include <vector>

#include "expect.h"
#include "linalg/gamma_differences.h"
#include "linalg/gaussian_moments.h"
#include "linalg/mixing_weights.h"
#include "linalg/moment_shifts.h"
#include "linalg/normal_wishart.h"

namespace {

using namespace vbfast::linalg;

bool near(double a, double b) {
    return std::fabs(a - b) <= 1e-12 * (1 + std::fabs(b));
}

// Sums over two rows a component, centre + 2 e and centre - e, e a vector of ones.
struct Sums {
    std::vector<double> centres, weight, first, second;

    Sums(Pattern pattern, std::int64_t K, std::int64_t D) {
        std::mt19937_64 generator(3);
        std::normal_distribution<double> normal;
        centres.resize(K * D);
        for (double& c : centres) c = normal(generator);
        weight.assign(K, 2.0);
        first.assign(K * D, 1.0);
        const double matrices = pattern == Pattern::tied ? 1 : static_cast<double>(K);
        const double each = pattern == Pattern::tied ? 5.0 * static_cast<double>(K) : 5.0;
        second.assign(static_cast<std::size_t>(matrices) * pattern_size(pattern, D), each);
    }
    MomentSums get() const {
        return {centres.data(), weight.data(), weight.data(), first.data(), second.data()};
    }
};

std::int64_t matrices_of(Pattern pattern, std::int64_t K) {
    return pattern == Pattern::tied ? 1 : K;
}

std::vector<double> moments(Pattern pattern, std::int64_t K, std::int64_t D, int num_threads) {
    const Sums sums(pattern, K, D);
    const std::int64_t size = pattern_size(pattern, D), n = matrices_of(pattern, K);
    std::vector<double> counts(K), means(K * D), covariances(n * size);
    gaussian_moments(pattern, K, D, sums.get(), 0.5, 0.0, 0.0, {nullptr, nullptr},
                     {counts.data(), means.data(), covariances.data()}, num_threads, nullptr);
    for (std::int64_t k = 0; k < K; ++k) EXPECT(counts[k] == 2.0);
    for (std::int64_t i = 0; i < K * D; ++i) EXPECT(near(means[i], sums.centres[i] + 0.5));
    // (2 - 1/2)^2 and (-1 - 1/2)^2, on average, and what is added to the diagonal.
    const bool whole = has_matrices(pattern);
    for (std::int64_t i = 0; i < n * size; ++i)
        EXPECT(near(covariances[i], 2.25 + (!whole || i % size % (D + 1) == 0 ? 0.5 : 0.0)));
    return covariances;
}

struct Posterior {
    std::vector<double> mean_precision, means, degrees, covariances, factor;

    Posterior(Pattern pattern, std::int64_t K, std::int64_t D) {
        const std::int64_t n = matrices_of(pattern, K);
        mean_precision.resize(K);
        means.resize(K * D);
        degrees.resize(n);
        covariances.resize(n * pattern_size(pattern, D));
        factor.resize(covariances.size());
    }
    NormalWisharts get() const {
        return {mean_precision.data(), means.data(), degrees.data(), factor.data(), false};
    }
};

std::vector<double> variational(Pattern pattern, std::int64_t K, std::int64_t D, int num_threads) {
    const Sums sums(pattern, K, D);
    const std::int64_t size = pattern_size(pattern, D), n = matrices_of(pattern, K);
    std::vector<double> mean(D, 0.25), covariance(size, 0.0), all;
    for (std::int64_t i = 0; i < size; i += has_matrices(pattern) ? D + 1 : 1) covariance[i] = 3.0;
    const double degrees = static_cast<double>(D) + 1;
    Posterior posterior(pattern, K, D);
    EXPECT(normal_wishart_posterior(
               pattern, K, D, {0.5, mean.data(), degrees, covariance.data()}, sums.get(), 0.0, 0.0,
               {posterior.mean_precision.data(), posterior.means.data(), posterior.degrees.data(),
                posterior.covariances.data(), posterior.factor.data()},
               num_threads, nullptr) == -1);
    for (std::int64_t k = 0; k < K; ++k) EXPECT(posterior.mean_precision[k] == 2.5);
    for (std::int64_t i = 0; i < K * D; ++i)
        EXPECT(near(posterior.means[i],
                    (0.5 * 0.25 + 2.0 * (sums.centres[i] + 0.5)) / 2.5));  // Bishop 2006, eq. 10.61
    std::vector<double> divergence(K, -1.0), density(K), log_det(n);
    normal_wishart_divergence(pattern, K, D, posterior.get(), posterior.get(), divergence.data(),
                              num_threads, nullptr);
    for (double d : divergence) EXPECT(d == 0.0);
    expected_log_density(pattern, K, D, posterior.get(), density.data(), num_threads, nullptr);
    expected_log_det(pattern, n, D, posterior.degrees.data(), posterior.factor.data(),
                     log_det.data(), num_threads, nullptr);
    for (const auto& values :
         {posterior.degrees, posterior.covariances, posterior.factor, density, log_det})
        for (double value : values) {
            EXPECT(std::isfinite(value));
            all.push_back(value);
        }
    return all;
}

void mixing_weights() {
    const double two[] = {1.0, 1.0};
    double expected[2];
    dirichlet_expected_log(two, 2, expected);
    EXPECT(near(expected[0], -1.0) && near(expected[1], -1.0));  // psi(1) - psi(2)
    stick_expected_log(two, two, 2, expected);
    EXPECT(near(expected[0], -1.0) && near(expected[1], -2.0));
    const double none[] = {0.0, 0.0}, rows[] = {1.0, 2.0};
    EXPECT(dirichlet_log_evidence(1.0, none, 2) == 0.0);
    // log C(1, 1) - log C(2, 3) = -log(4! / (1! 2!))
    EXPECT(near(dirichlet_log_evidence(1.0, rows, 2), -std::log(12.0)));
    const double one[] = {0.0};
    EXPECT(near(stick_log_evidence(2.0, one, one, 1), 0.0));
}

void differences() {
    EXPECT(near(log1p_less_argument(1.0), std::log(2.0) - 1));
    EXPECT(near(itakura_saito(1.0, 2.0, 1.0), std::log(2.0) - 0.5));
    EXPECT(near(log_ratio(2.0, 2.0), std::log(2.0)));
    EXPECT(near(digamma_less_log(1.0), -0.57721566490153286));
    EXPECT(near(log_gamma_increment(3.0, 1.0), 0.0));
    EXPECT(log_gamma_divergence(1.5, 0.0) == 0.0);
    EXPECT(log_gamma_divergence(1e15, 10.0) >= 0.0);
    for (const double x : {3.0, 40.5, 1e9})
        for (const std::int64_t n : {0, 1, 2, 5}) {
            double psi = 0.0, gammas = 0.0;
            for (std::int64_t i = 0; i < n; ++i) {
                const double at = x - 0.5 * static_cast<double>(i);
                psi += digamma_less_log(at);
                gammas += log_gamma_divergence(at, 2.5);
            }
            EXPECT(near(sum_digamma_less_log(x, n), psi));
            EXPECT(near(sum_log_gamma_divergence(x, 2.5, n), gammas));
        }
    EXPECT(std::isnan(sum_digamma_less_log(1.0, 5)));
}

void shifts(Pattern pattern, std::int64_t K, std::int64_t D) {
    Sums sums(pattern, K, D);
    const std::int64_t size = matrices_of(pattern, K) * pattern_size(pattern, D);
    std::vector<double> offset(K, 0.0), factor(size, 0.0);
    for (std::int64_t i = 0; i < size; ++i)
        if (!has_matrices(pattern) || i % (D * D) % (D + 1) == 0) factor[i] = 1.0;
    const double floor = 0.0;
    const auto cancels = [&] {
        return second_moments_cancel(
            {K, D, offset.data(), sums.centres.data(), pattern, factor.data(), pattern,
             sums.weight.data(), sums.first.data(), sums.second.data(), &floor, 0, 0},
            100.0, 1e6);
    };
    EXPECT(!cancels());
    // The rows' means are a million deviations away.
    for (double& first : sums.first) first = 2e6;
    for (double& second : sums.second) second = 2e12 + 1.0;
    EXPECT(cancels());
}

}  // namespace

int main() {
    for (Pattern pattern : {Pattern::full, Pattern::tied, Pattern::diag, Pattern::spherical})
        for (std::int64_t K : {1, 3, 40})
            for (std::int64_t D : {1, 2, 7, 33}) {
                EXPECT(moments(pattern, K, D, 1) == moments(pattern, K, D, 3));
                EXPECT(variational(pattern, K, D, 1) == variational(pattern, K, D, 3));
                shifts(pattern, K, D);
            }
    mixing_weights();
    differences();
}
