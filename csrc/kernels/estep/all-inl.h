// The kernels of the E-step, of one level. A target includes its lanes and then this file, inside
// its own namespace; nothing here is seen by any other unit.

// In the order of their dependence, not of the alphabet.
// clang-format off
#include "kernels/transcendental-inl.h"
#include "kernels/estep/tile-inl.h"
#include "kernels/estep/log_joint-inl.h"
#include "kernels/estep/nearest-inl.h"
#include "kernels/estep/gathered_gradient-inl.h"
#include "kernels/estep/mixed_gradient-inl.h"
#include "kernels/estep/overflow-inl.h"
#include "kernels/estep/posterior-inl.h"
#include "kernels/estep/dense_moments-inl.h"
#include "kernels/estep/gathered_moments-inl.h"
#include "kernels/estep/seeding-inl.h"
// clang-format on

template <class T>
constexpr Kernels<T> level_kernels = {group_rows<T>,
                                      Blocking::factor_columns,
                                      Blocking::moment_components,
                                      Blocking::moment_features,
                                      Lanes<T>::width,
                                      Blocking::outer_vectors * Lanes<T>::width,
                                      local_step<T>,
                                      summary_step<T>,
                                      seeding_step<T>};
