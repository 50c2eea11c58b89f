// The kernels of one level. A target includes its lanes and then this file, inside its own
// namespace; nothing here is seen by any other unit.

// In the order of their dependence, not of the alphabet.
// clang-format off
#include "kernels/transcendental-inl.h"
#include "kernels/tile-inl.h"
#include "kernels/log_joint-inl.h"
#include "kernels/nearest-inl.h"
#include "kernels/gradient_listed-inl.h"
#include "kernels/gradient_x-inl.h"
#include "kernels/overflow-inl.h"
#include "kernels/responsibilities-inl.h"
#include "kernels/dense_moments-inl.h"
#include "kernels/listed_moments-inl.h"
#include "kernels/seeding-inl.h"
#include "kernels/matrices-inl.h"
#include "kernels/matrix_gradients-inl.h"
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
