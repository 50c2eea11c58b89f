// What passes and the linear algebra call by other names.
#pragma once

#include <cstdint>

#include "estep/request.h"
#include "linalg/pattern.h"

namespace vbfast::loops {

// The form of a log-joint whose factors have a pattern.
estep::Form form_of(linalg::Pattern pattern);

// `variance` for every row, of which components have `weight` (K,), and the diagonal of a
// covariance, of which `covariance` points at the first number or is null: as
// GaussianStep::scatter_floor has it.
void spread_floor(linalg::Pattern pattern, std::int64_t n_components, std::int64_t n_features,
                  const double* weight, double variance, const double* covariance, double* floor);

}  // namespace vbfast::loops
