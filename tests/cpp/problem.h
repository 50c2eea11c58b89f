// A mixture with rows, and scalar loops over the definition of its log-joint.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "estep/request.h"

namespace problem {

using vbfast::estep::Form;

struct Problem {
    Form form;
    std::int64_t N, K, D;
    std::vector<double> offset, means, coefficients, weights;
    std::vector<double> rows;  // (N, D), numbers of the precision of the pass
};

// The factor of component k: entry (d, e) of an upper triangle, of a diagonal or of a scale.
inline double factor(const Problem& p, std::int64_t k, std::int64_t d, std::int64_t e) {
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

inline double centred(const Problem& p, std::int64_t n, std::int64_t k, std::int64_t d) {
    return p.rows[n * p.D + d] - p.means[k * p.D + d];
}

// (x_n - mean_k) P_k.
inline std::vector<double> whitened(const Problem& p, std::int64_t n, std::int64_t k) {
    std::vector<double> z(p.D, 0.0);
    for (std::int64_t d = 0; d < p.D; ++d)
        for (std::int64_t e = d; e < p.D; ++e) z[e] += centred(p, n, k, d) * factor(p, k, d, e);
    return z;
}

inline double log_joint(const Problem& p, std::int64_t n, std::int64_t k) {
    double sum = p.offset[k];
    if (p.form == Form::linear)
        for (std::int64_t d = 0; d < p.D; ++d)
            sum += p.rows[n * p.D + d] * p.coefficients[k * p.D + d];
    else
        for (double z : whitened(p, n, k)) sum -= 0.5 * z * z;
    return sum;
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

}  // namespace problem
