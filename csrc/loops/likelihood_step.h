// The maximum-likelihood global step, see vbfast/families/gaussian_step.py.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "loops/gaussian_step.h"

namespace vbfast::loops {

// Parameters of a Gaussian mixture. Covariances and factors are shaped by the pattern.
struct GaussianParameters {
    std::vector<double> weights, means, covariances, factor, offset;
};

class LikelihoodStep final : public GaussianStep {
  public:
    // `variance`, `least_count` and `empty` are those of linalg::gaussian_moments.
    LikelihoodStep(linalg::Pattern pattern, std::int64_t n_components, std::int64_t n_features,
                   double variance, double least_count, double empty, GaussianParameters start);

    estep::MixtureParameters log_joint() const override;
    void scatter_floor(const double* weight, double* floor) const override;
    bool take(const linalg::MomentSums& moments, const estep::TileSums& sums, double* bound,
              int num_threads, const runtime::Interrupt* interrupt) override;
    void undo() override { std::swap(present_, previous_); }

    const GaussianParameters& parameters() const { return present_; }

  private:
    double variance_, least_count_, empty_;
    GaussianParameters present_, previous_;
};

}  // namespace vbfast::loops
