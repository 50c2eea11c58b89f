#include "loops/likelihood_step.h"

#include <algorithm>

#include "linalg/factors.h"
#include "linalg/gaussian_moments.h"
#include "linalg/ordered_sum.h"
#include "loops/forms.h"

namespace vbfast::loops {

LikelihoodStep::LikelihoodStep(linalg::Pattern pattern, std::int64_t n_components,
                               std::int64_t n_features, double variance, double least_count,
                               double empty, GaussianParameters start)
    : GaussianStep(pattern, n_components, n_features),
      variance_(variance),
      least_count_(least_count),
      empty_(empty),
      present_(std::move(start)),
      previous_(present_) {}

estep::MixtureParameters LikelihoodStep::log_joint() const {
    return {form_of(pattern_),      n_components_,         n_features_,
            present_.offset.data(), present_.means.data(), present_.factor.data()};
}

void LikelihoodStep::scatter_floor(const double* weight, double* floor) const {
    spread_floor(pattern_, n_components_, n_features_, weight, variance_, nullptr, floor);
}

bool LikelihoodStep::take(const linalg::MomentSums& moments, const estep::TileSums& sums,
                          double* bound, int num_threads, const runtime::Interrupt* interrupt) {
    const std::int64_t K = n_components_, D = n_features_;
    GaussianParameters& next = previous_;
    linalg::gaussian_moments(pattern_, K, D, moments, variance_, least_count_, empty_,
                             {present_.means.data(), present_.covariances.data()},
                             {next.weights.data(), next.means.data(), next.covariances.data()},
                             num_threads, interrupt);
    if (linalg::precision_factors(pattern_, K, D, next.covariances.data(), next.factor.data(),
                                  num_threads, interrupt) >= 0)
        return false;
    const double total = linalg::sum_as_numpy(next.weights.data(), K);
    for (double& weight : next.weights) weight /= total;
    linalg::gaussian_offsets(pattern_, K, D, next.weights.data(), next.factor.data(),
                             next.offset.data());
    std::swap(present_, previous_);
    *bound = sums.log_evidence / sums.weight;
    return true;
}

}  // namespace vbfast::loops
