#include "loops/variational_step.h"

#include <algorithm>

#include "linalg/factors.h"
#include "linalg/mixing_weights.h"
#include "linalg/ordered_sum.h"
#include "loops/forms.h"

namespace vbfast::loops {

VariationalStep::VariationalStep(linalg::Pattern pattern, std::int64_t n_components,
                                 std::int64_t n_features, VariationalPrior prior, double variance,
                                 double least_count, VariationalPosterior start)
    : GaussianStep(pattern, n_components, n_features),
      prior_(std::move(prior)),
      variance_(variance),
      least_count_(least_count),
      present_(std::move(start)),
      previous_(present_) {}

estep::MixtureParameters VariationalStep::log_joint() const {
    return {form_of(pattern_),      n_components_,         n_features_,
            present_.offset.data(), present_.means.data(), present_.factor.data()};
}

void VariationalStep::scatter_floor(const double* weight, double* floor) const {
    spread_floor(pattern_, n_components_, n_features_, weight, variance_, prior_.covariance.data(),
                 floor);
}

linalg::NormalWisharts VariationalStep::distributions(const VariationalPosterior& q) const {
    return {q.mean_precision.data(), q.means.data(), q.degrees_of_freedom.data(), q.factor.data(),
            false};
}

// Makes the weights' posterior of the counts, and returns the log-ratio of its normaliser to that
// of the prior.
double VariationalStep::take_weights(const double* counts, VariationalPosterior& next) const {
    const std::int64_t K = n_components_;
    const double prior = prior_.concentration;
    std::copy_n(counts, K, next.counts.data());
    std::vector<double> one(next.counts), other(next.counts.size(), prior);
    if (!prior_.sticks) {
        for (double& concentration : one) concentration += prior;
        linalg::dirichlet_expected_log(one.data(), K, next.expected_log.data());
        return linalg::dirichlet_log_evidence(prior, counts, K);
    }
    for (double& taken : one) taken += 1.0;
    double later = 0.0;
    for (std::int64_t k = K - 1; k > 0; --k) {
        later += counts[k];
        other[static_cast<std::size_t>(k - 1)] += later;
    }
    linalg::stick_expected_log(one.data(), other.data(), K, next.expected_log.data());
    for (double& taken : one) taken -= 1.0;
    for (double& left : other) left -= prior;
    return linalg::stick_log_evidence(prior, one.data(), other.data(), K);
}

bool VariationalStep::take(const linalg::MomentSums& moments, const estep::TileSums& sums,
                           double* bound, int num_threads, const runtime::Interrupt* interrupt) {
    const std::int64_t K = n_components_, D = n_features_;
    const VariationalPosterior& before = present_;
    VariationalPosterior& after = previous_;
    const linalg::NormalWishartPrior prior = {prior_.mean_precision, prior_.mean.data(),
                                              prior_.degrees_of_freedom, prior_.covariance.data()};
    if (linalg::normal_wishart_posterior(
            pattern_, K, D, prior, moments, variance_, least_count_,
            {after.mean_precision.data(), after.means.data(), after.degrees_of_freedom.data(),
             after.covariances.data(), after.factor.data()},
            num_threads, interrupt) >= 0)
        return false;
    const double log_evidence = take_weights(moments.weight, after);

    // The bound, by its terms that the step changes: see VariationalGaussian.lower_bound.
    std::vector<double> components(static_cast<std::size_t>(K)), from_prior(components);
    linalg::normal_wishart_divergence(pattern_, K, D, distributions(before), distributions(after),
                                      components.data(), num_threads, interrupt);
    const linalg::NormalWisharts of_prior = {&prior_.mean_precision, prior_.mean.data(),
                                             &prior_.degrees_of_freedom, prior_.factor.data(),
                                             true};
    linalg::normal_wishart_divergence(pattern_, K, D, distributions(before), of_prior,
                                      from_prior.data(), num_threads, interrupt);
    const std::int64_t size = linalg::pattern_size(pattern_, D);
    std::vector<double> expected_log;  // times the counts, where there are any
    double trace = 0.0;
    for (std::int64_t k = 0; k < K; ++k) {
        if (k < linalg::count_matrices(pattern_, K))
            trace = linalg::trace_of_precision(pattern_, after.factor.data() + k * size, D) -
                    linalg::trace_of_precision(pattern_, before.factor.data() + k * size, D);
        const auto at = static_cast<std::size_t>(k);
        const double count = moments.weight[k], added = variance_ * count;
        components[at] = components[at] - from_prior[at] + 0.5 * added * trace;
        if (count > 0.0) expected_log.push_back(count * before.expected_log[at]);
    }
    const auto n_held = static_cast<std::int64_t>(expected_log.size());
    const double weights = log_evidence - linalg::sum_as_numpy(expected_log.data(), n_held);
    *bound = sums.log_evidence + weights + linalg::sum_as_numpy(components.data(), K);

    linalg::expected_log_density(pattern_, K, D, distributions(after), after.offset.data(),
                                 num_threads, interrupt);
    for (std::size_t k = 0; k < after.offset.size(); ++k)
        after.offset[k] = after.expected_log[k] + after.offset[k];
    std::swap(present_, previous_);
    return true;
}

}  // namespace vbfast::loops
