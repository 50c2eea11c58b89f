// The batched linear algebra over awkward shapes, for the sanitizers; values against the
// definition.
#include "linalg/batches.h"

#include <cmath>
#include <random>
#include <vector>

#include "expect.h"

namespace {

using namespace vbfast::linalg;

void check(std::int64_t K, std::int64_t D, int num_threads) {
    std::mt19937_64 generator(42);
    std::normal_distribution<double> normal;
    std::vector<double> roots(K * D * D), covariances(K * D * D), factors(K * D * D);
    for (double& a : roots) a = normal(generator);
    for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t i = 0; i < D; ++i)
            for (std::int64_t j = 0; j < D; ++j) {
                double sum = i == j ? static_cast<double>(D) : 0.0;
                for (std::int64_t m = 0; m < D; ++m)
                    sum += roots[(k * D + i) * D + m] * roots[(k * D + j) * D + m];
                covariances[(k * D + i) * D + j] = sum;
            }
    EXPECT(precision_cholesky(covariances.data(), K, D, factors.data(), num_threads, nullptr) ==
           -1);
    for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t i = 0; i < D; ++i) {
            // Row i of P^T covariance P.
            const double* p = factors.data() + k * D * D;
            std::vector<double> row(D, 0.0);
            for (std::int64_t m = 0; m <= i; ++m)
                for (std::int64_t j = 0; j < D; ++j)
                    row[j] += p[m * D + i] * covariances[(k * D + m) * D + j];
            for (std::int64_t j = 0; j < D; ++j) {
                double sum = i == j ? -1.0 : 0.0;
                for (std::int64_t m = 0; m <= j; ++m) sum += row[m] * p[m * D + j];
                EXPECT(std::fabs(sum) < 1e-10);
                EXPECT(j >= i || p[i * D + j] == 0.0);
            }
        }

    std::vector<double> norms(K);
    ratio_norms(factors.data(), factors.data(), K, K, D, norms.data(), num_threads, nullptr);
    for (double norm : norms) EXPECT(std::fabs(norm / static_cast<double>(D) - 1) < 1e-12);
    ratio_norms(factors.data(), factors.data(), 1, K, D, norms.data(), num_threads, nullptr);
    EXPECT(std::fabs(norms[0] / static_cast<double>(D) - 1) < 1e-12);

    // Rows of ones whose draws, whitened, are ones again.
    const std::int64_t n = 19;
    std::vector<std::int64_t> counts(K, n);
    std::vector<double> means(K * D, 0.5), rows(K * n * D, 1.0);
    draw_rows(factors.data(), K, means.data(), counts.data(), K, D, rows.data(), num_threads,
              nullptr);
    for (std::int64_t row = 0; row < K * n; ++row)
        for (std::int64_t j = 0; j < D; ++j) {
            double sum = -1.0;
            for (std::int64_t i = 0; i <= j; ++i)
                sum += (rows[row * D + i] - 0.5) * factors[(row / n * D + i) * D + j];
            EXPECT(std::fabs(sum) < 1e-10);
        }

    std::vector<double> moved(K * D * D);
    subtract_symmetric(covariances.data(), roots.data(), roots.data() + K * D * (D - 1), K, D,
                       moved.data(), num_threads, nullptr);
    EXPECT(moved[D - 1] == moved[(D - 1) * D]);

    std::vector<double> averaged(K * D * D), precisions(K * D * D);
    average_moved(covariances.data(), roots.data(), roots.data() + K * D * (D - 1), 0.5,
                  covariances.data(), 2.0, K, D, averaged.data(), num_threads, nullptr);
    squares(factors.data(), K, D, precisions.data(), num_threads, nullptr);
    for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t i = 0; i < D; ++i)
            for (std::int64_t j = 0; j < D; ++j) {
                const std::int64_t at = (k * D + i) * D + j;
                EXPECT(averaged[at] == 0.5 * moved[at] + 2.0 * covariances[at]);
                double sum = 0.0, sizes = 0.0;
                for (std::int64_t m = 0; m < D; ++m) {
                    const double product =
                        factors[(k * D + i) * D + m] * factors[(k * D + j) * D + m];
                    sum += product;
                    sizes += std::fabs(product);
                }
                EXPECT(std::fabs(precisions[at] - sum) <= 1e-14 * static_cast<double>(D) * sizes);
            }

    // Moments that the covariances fit, of vectors that the precisions take to the rows of `roots`.
    std::vector<double> weight(K, 1.0), first(K * 2 * D, 0.0), in_means(K * 2 * D);
    std::vector<double> in_covariances(K * D * D), in_factors(K * D * D);
    for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t v = 0; v < 2; ++v)
            for (std::int64_t i = 0; i < D; ++i)
                for (std::int64_t j = 0; j < D; ++j)
                    first[(k * 2 + v) * D + i] +=
                        covariances[(k * D + i) * D + j] * roots[(k * D + v % D) * D + j];
    matrix_gradients({weight.data(), first.data(), covariances.data()}, factors.data(), K, 2, D,
                     in_means.data(), in_covariances.data(), in_factors.data(), num_threads,
                     nullptr);
    for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t i = 0; i < D; ++i) {
            for (std::int64_t v = 0; v < 2; ++v)
                EXPECT(std::fabs(in_means[(k * 2 + v) * D + i] - roots[(k * D + v % D) * D + i]) <
                       1e-10);
            for (std::int64_t j = 0; j < D; ++j) {
                EXPECT(std::fabs(in_covariances[(k * D + i) * D + j]) < 1e-10);
                EXPECT(std::fabs(in_factors[(k * D + i) * D + j]) < 1e-10);
                EXPECT(j >= i || in_factors[(k * D + i) * D + j] == 0.0);
            }
        }

    covariances[(K - 1) * D * D] = -1.0;
    EXPECT(precision_cholesky(covariances.data(), K, D, factors.data(), num_threads, nullptr) ==
           K - 1);
}

// Batches of nothing, and matrices without features.
void empty(std::int64_t K, std::int64_t D, std::int64_t n_vectors) {
    std::vector<double> nothing(1, -1.0), norms(K + 1, -1.0);
    EXPECT(precision_cholesky(nothing.data(), K, D, nothing.data(), 2, nullptr) == -1);
    ratio_norms(nothing.data(), nothing.data(), K, K, D, norms.data(), 2, nullptr);
    for (std::int64_t k = 0; k < K; ++k) EXPECT(norms[k] == 0.0);
    subtract_symmetric(nothing.data(), nothing.data(), nothing.data(), K, D, nothing.data(), 2,
                       nullptr);
    average_moved(nothing.data(), nothing.data(), nothing.data(), 0.5, nothing.data(), 0.5, K, D,
                  nothing.data(), 2, nullptr);
    squares(nothing.data(), K, D, nothing.data(), 2, nullptr);
    matrix_gradients({norms.data(), nothing.data(), nothing.data()}, nothing.data(), K, n_vectors,
                     D, nothing.data(), nothing.data(), nothing.data(), 2, nullptr);
    const std::vector<std::int64_t> counts(static_cast<std::size_t>(K) + 1, 0);
    draw_rows(nothing.data(), 1, nothing.data(), counts.data(), K, D, nothing.data(), 2, nullptr);
    EXPECT(nothing[0] == -1.0);
}

}  // namespace

int main() {
    for (std::int64_t n_vectors : {0, 1, 3}) {
        empty(0, 0, n_vectors);
        empty(0, 3, n_vectors);
        empty(2, 0, n_vectors);
    }
    for (int num_threads : {1, 3})
        for (std::int64_t D : {1, 2, 3, 7, 8, 9, 13, 24, 33, 65})
            for (std::int64_t K : {1, 5}) check(K, D, num_threads);
    return 0;
}
