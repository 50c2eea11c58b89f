#include "linalg/moment_shifts.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace vbfast::linalg {

namespace {

// The median of the centres that are possible, by feature.
std::vector<double> middle_of(const ShiftedMoments& m) {
    std::vector<double> middle, values;
    for (std::int64_t i = 0; i < m.n_features; ++i) {
        values.clear();
        for (std::int64_t k = 0; k < m.n_components; ++k)
            if (std::isfinite(m.offset[k])) values.push_back(m.centres[k * m.n_features + i]);
        if (values.empty()) return {};
        const auto half = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
        std::nth_element(values.begin(), half, values.end());
        const double upper = *half;
        const bool odd = values.size() % 2 == 1;
        middle.push_back(odd ? upper : 0.5 * (*std::max_element(values.begin(), half) + upper));
    }
    return middle;
}

// The largest squared norm of a column.
double steepest(const double* factor, std::int64_t D) {
    std::vector<double> norms(static_cast<std::size_t>(D), 0.0);
    for (std::int64_t i = 0; i < D; ++i)
        for (std::int64_t j = i; j < D; ++j)
            norms[static_cast<std::size_t>(j)] += factor[i * D + j] * factor[i * D + j];
    return *std::max_element(norms.begin(), norms.end());
}

// How far, squared and by feature, the points may be from the centres that a pass took moments
// about: (K, D). Those of centres that are farther out than the limit are the centres themselves.
std::vector<double> squared_reaches(const ShiftedMoments& m, double reach) {
    const std::int64_t D = m.n_features, size = pattern_size(m.factor_pattern, D);
    std::vector<double> squared(static_cast<std::size_t>(m.n_components * D), 0.0);
    const std::vector<double> middle = middle_of(m);
    if (middle.empty()) return squared;
    for (std::int64_t k = 0; k < m.n_components; ++k) {
        const double* P = m.factor + (m.factor_pattern == Pattern::tied ? 0 : k * size);
        double* own = squared.data() + k * D;
        double whole = 0.0, farthest = 0.0;
        for (std::int64_t i = 0; i < D; ++i) {
            const double way = m.centres[k * D + i] - middle[static_cast<std::size_t>(i)];
            own[i] = way * way;
            whole += own[i];
            const double root = P[m.factor_pattern == Pattern::diag ? i : 0];
            const double distance = own[i] * (root * root);
            farthest = std::max(farthest, distance);
        }
        if (has_matrices(m.factor_pattern)) farthest = whole * steepest(P, D);
        if (!(farthest <= reach)) std::fill_n(own, D, 0.0);
    }
    return squared;
}

// Numbers (K, D) as those that share a variance have them: their mean, their sum, or each.
class OfOneVariance {
  public:
    OfOneVariance(const ShiftedMoments& m)
        : D_(m.n_features),
          spherical_(m.second_pattern == Pattern::spherical),
          tied_(m.second_pattern == Pattern::tied),
          values_(static_cast<std::size_t>(tied_        ? D_
                                           : spherical_ ? m.n_components
                                                        : m.n_components * D_),
                  0.0) {}

    void add(std::int64_t k, std::int64_t i, double value) {
        values_[static_cast<std::size_t>(tied_        ? i
                                         : spherical_ ? k
                                                      : k * D_ + i)] +=
            spherical_ ? value / static_cast<double>(D_) : value;
    }
    double at(std::int64_t n) const { return values_[static_cast<std::size_t>(n)]; }
    std::int64_t size() const { return static_cast<std::int64_t>(values_.size()); }

  private:
    std::int64_t D_;
    bool spherical_, tied_;
    std::vector<double> values_;
};

}  // namespace

bool second_moments_cancel(const ShiftedMoments& m, double tolerated, double reach) {
    const std::int64_t K = m.n_components, D = m.n_features;
    const auto step = [&](std::int64_t k, std::int64_t i) {
        return m.weight[k] > 0.0 ? m.first[k * D + i] / m.weight[k] : 0.0;
    };
    OfOneVariance along(m);
    std::vector<double> extent(static_cast<std::size_t>(D));  // squared
    for (std::int64_t i = 0; i < D; ++i) {
        double lowest = m.centres[i], highest = lowest;
        for (std::int64_t k = 0; k < K; ++k) {
            const double s = step(k, i);
            along.add(k, i, 2.0 * (m.first[k * D + i] - 0.5 * m.weight[k] * s) * s);
            lowest = std::min(lowest, m.centres[k * D + i]);
            highest = std::max(highest, m.centres[k * D + i]);
        }
        extent[static_cast<std::size_t>(i)] = (highest - lowest) * (highest - lowest);
    }
    const auto cancel = [&](const double* squared, std::int64_t row) {
        OfOneVariance subtracted(m);
        for (std::int64_t k = 0; k < K; ++k)
            for (std::int64_t i = 0; i < D; ++i) {
                const double s = step(k, i);
                subtracted.add(k, i, m.weight[k] * (s * s + squared[k * row + i]));
            }
        for (std::int64_t n = 0; n < subtracted.size(); ++n) {
            std::int64_t k = n / D, i = n % D, place = n;
            if (m.second_pattern == Pattern::full) place = (k * D + i) * D + i;
            if (m.second_pattern == Pattern::tied) place = i * D + i;
            if (m.second_pattern == Pattern::spherical) k = n, i = 0;
            const double floor = m.floor[k * m.floor_rows + i * m.floor_columns];
            if (subtracted.at(n) > tolerated * (m.second[place] - along.at(n) + floor)) return true;
        }
        return false;
    };
    // No reach is longer than the way between the outermost means, which is known sooner.
    return cancel(extent.data(), 0) && cancel(squared_reaches(m, reach).data(), D);
}

}  // namespace vbfast::linalg
