// The kernels of one level. A target includes its lanes and then this file, inside its own
// namespace; nothing here is seen by any other unit.

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
#include "kernels/linalg/matrices-inl.h"
#include "kernels/linalg/gradients-inl.h"
// clang-format on

template <class T>
constexpr KernelSet<T> kernel_set = {group_rows<T>,
                                     Blocking::factor_columns,
                                     Blocking::moment_components,
                                     Blocking::moment_features,
                                     Lanes<T>::width,
                                     Blocking::outer_vectors * Lanes<T>::width,
                                     local_step<T>,
                                     summary_step<T>,
                                     seeding_step<T>};

constexpr MatrixSet matrix_set = {matrix_columns, factor_block,       invert_block,
                                  ratio_block,    subtract_symmetric, transpose_block,
                                  whiten_block,   unwhiten_block};
