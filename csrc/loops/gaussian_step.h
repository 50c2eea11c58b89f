// Global steps of Gaussian components, which a loop takes between two passes.
#pragma once

#include <cstdint>

#include "estep/request.h"
#include "kernels/estep/tile.h"
#include "linalg/moment_sums.h"
#include "linalg/pattern.h"
#include "runtime/threads.h"

namespace vbfast::loops {

// The parameters of a mixture, and how those of the next iteration are made of a pass's sums: by
// the functions of linalg that the families in Python call for the same, so that bits are the same.
class GaussianStep {
  public:
    virtual ~GaussianStep() = default;

    // The log-joint of the present parameters. Its arrays live until the next step.
    virtual estep::MixtureParameters log_joint() const = 0;

    // What a step adds to sums of squares about the components' means, for components of such
    // weights: (K, D), of a tied pattern (D,), the sum over the components.
    virtual void scatter_floor(const double* weight, double* floor) const = 0;

    // Makes parameters of the sums of a pass, and the bound that it has told. False, and nothing
    // has changed, if a covariance is not positive definite.
    virtual bool take(const linalg::MomentSums& moments, const estep::TileSums& sums, double* bound,
                      int num_threads, const runtime::Interrupt* interrupt) = 0;

    // Goes back to the parameters before the last step.
    virtual void undo() = 0;

    linalg::Pattern pattern() const { return pattern_; }
    std::int64_t n_components() const { return n_components_; }
    std::int64_t n_features() const { return n_features_; }

  protected:
    GaussianStep(linalg::Pattern pattern, std::int64_t n_components, std::int64_t n_features)
        : pattern_(pattern), n_components_(n_components), n_features_(n_features) {}

    linalg::Pattern pattern_;
    std::int64_t n_components_, n_features_;
};

}  // namespace vbfast::loops
