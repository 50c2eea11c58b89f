#include "linalg.h"

#include <atomic>
#include <cmath>
#include <vector>

namespace vbfast {

namespace {

// row -= factor * other, over [first, n).
void subtract_multiple(double* row, const double* other, double factor, std::int64_t first,
                       std::int64_t n) {
    for (std::int64_t j = first; j < n; ++j) row[j] -= factor * other[j];
}

// R with R^T R = covariance in the upper triangle of r. False if not positive definite.
bool upper_cholesky(const double* covariance, std::int64_t D, double* r) {
    for (std::int64_t i = 0; i < D; ++i)
        for (std::int64_t j = i; j < D; ++j) r[i * D + j] = covariance[i * D + j];
    for (std::int64_t k = 0; k < D; ++k) {
        double* row = r + k * D;
        if (!(row[k] > 0) || !std::isfinite(row[k])) return false;
        const double inverse = 1 / std::sqrt(row[k]);
        for (std::int64_t j = k; j < D; ++j) row[j] *= inverse;
        for (std::int64_t i = k + 1; i < D; ++i)
            if (row[i] != 0) subtract_multiple(r + i * D, row, row[i], i, D);
    }
    return true;
}

// P = R^-1 by back substitution over rows; the strict lower triangle is zero.
void invert_upper(const double* r, std::int64_t D, double* p) {
    for (std::int64_t i = D; i-- > 0;) {
        double* row = p + i * D;
        for (std::int64_t j = 0; j < D; ++j) row[j] = 0;
        for (std::int64_t k = i + 1; k < D; ++k)
            if (r[i * D + k] != 0) subtract_multiple(row, p + k * D, r[i * D + k], k, D);
        const double inverse = 1 / r[i * D + i];
        for (std::int64_t j = i + 1; j < D; ++j) row[j] *= inverse;
        row[i] = inverse;
    }
}

struct Batch {
    const double* covariances;
    std::int64_t D;
    double* factors;
    double* log_det;
    std::atomic<std::int64_t> failed;
};

void factorise(void* context, std::int64_t k, int, Region&) {
    Batch& batch = *static_cast<Batch*>(context);
    const std::int64_t D = batch.D;
    std::vector<double> r(static_cast<std::size_t>(D * D));
    if (!upper_cholesky(batch.covariances + k * D * D, D, r.data())) {
        std::int64_t current = batch.failed.load();
        while ((current < 0 || k < current) && !batch.failed.compare_exchange_weak(current, k)) {
        }
        return;
    }
    double* p = batch.factors + k * D * D;
    invert_upper(r.data(), D, p);
    double sum = 0;
    for (std::int64_t i = 0; i < D; ++i) sum += std::log(p[i * D + i]);
    batch.log_det[k] = sum;
}

// The sum of squares of R = B^-1 A, which is upper triangular too, by back substitution over rows.
double ratio_norm(const double* a, const double* b, std::int64_t D) {
    std::vector<double> r(static_cast<std::size_t>(D * D));
    double sum = 0;
    for (std::int64_t i = D; i-- > 0;) {
        double* row = r.data() + i * D;
        for (std::int64_t j = i; j < D; ++j) row[j] = a[i * D + j];
        for (std::int64_t k = i + 1; k < D; ++k)
            if (b[i * D + k] != 0) subtract_multiple(row, r.data() + k * D, b[i * D + k], k, D);
        for (std::int64_t j = i; j < D; ++j) row[j] /= b[i * D + i];
        for (std::int64_t j = i; j < D; ++j) sum += row[j] * row[j];
    }
    return sum;
}

}  // namespace

std::int64_t precision_cholesky(const double* covariances, std::int64_t n_components,
                                std::int64_t n_features, double* factors, double* log_det,
                                int num_threads) {
    Batch batch{covariances, n_features, factors, log_det, {-1}};
    const std::int64_t operations = n_components * n_features * n_features * n_features;
    parallel_for(n_components, threads_for(operations, num_threads), factorise, &batch, nullptr);
    return batch.failed.load();
}

void ratio_norms(const double* factors, const double* denominators, std::int64_t n_components,
                 std::int64_t n_features, double* norms, int num_threads) {
    const std::int64_t operations = n_components * n_features * n_features * n_features;
    const int threads = threads_for(operations, num_threads);
    parallel(n_components, threads, nullptr, [&](std::int64_t k, int, Region&) {
        const std::int64_t size = n_features * n_features;
        norms[k] = ratio_norm(factors + k * size, denominators + k * size, n_features);
    });
}

}  // namespace vbfast
