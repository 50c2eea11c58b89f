// The global step of variational Bayes, see vbfast/families/variational.py.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "linalg/normal_wishart.h"
#include "loops/gaussian_step.h"

namespace vbfast::loops {

// The priors of a mixture: of the components, by a covariance and a factor as linalg has them, and
// of the weights, a Dirichlet distribution or sticks of such a concentration.
struct VariationalPrior {
    bool sticks;
    double concentration;
    double mean_precision;
    std::vector<double> mean;
    double degrees_of_freedom;
    std::vector<double> covariance, factor;
};

// A posterior: the components' parameters, and what the rows have told of the weights.
struct VariationalPosterior {
    std::vector<double> counts, expected_log;  // of the weights, (K,)
    std::vector<double> mean_precision, means, degrees_of_freedom, covariances, factor;
    std::vector<double> offset;
};

class VariationalStep final : public GaussianStep {
  public:
    // `variance` and `least_count` are those of linalg::normal_wishart_posterior.
    VariationalStep(linalg::Pattern pattern, std::int64_t n_components, std::int64_t n_features,
                    VariationalPrior prior, double variance, double least_count,
                    VariationalPosterior start);

    estep::MixtureParameters log_joint() const override;
    void scatter_floor(const double* weight, double* floor) const override;
    bool take(const linalg::MomentSums& moments, const estep::TileSums& sums, double* bound,
              int num_threads, const runtime::Interrupt* interrupt) override;
    void undo() override { std::swap(present_, previous_); }

    const VariationalPosterior& posterior() const { return present_; }

  private:
    linalg::NormalWisharts distributions(const VariationalPosterior& posterior) const;
    double take_weights(const double* counts, VariationalPosterior& next) const;

    VariationalPrior prior_;
    double variance_, least_count_;
    VariationalPosterior present_, previous_;
};

}  // namespace vbfast::loops
