// The kernels of the E-step, of one level. A target includes its lanes and then this file, inside
// its own namespace; nothing here is seen by any other unit.

// In the order of their dependence, not of the alphabet.
// clang-format off
#include "kernels/count-inl.h"
#include "kernels/transcendental-inl.h"
#include "kernels/estep/tile-inl.h"
#include "kernels/estep/row_sums-inl.h"
#include "kernels/estep/centring-inl.h"
#include "kernels/estep/gather-inl.h"
#include "kernels/estep/joint_block-inl.h"
#include "kernels/estep/early_exit-inl.h"
#include "kernels/estep/factor_forms-inl.h"
#include "kernels/estep/distance_forms-inl.h"
#include "kernels/estep/linear_form-inl.h"
#include "kernels/estep/log_joint-inl.h"
#include "kernels/estep/nearest-inl.h"
#include "kernels/estep/gathered_gradient-inl.h"
#include "kernels/estep/mixed_gradient-inl.h"
#include "kernels/estep/gradient_step-inl.h"
#include "kernels/estep/linear_overflow-inl.h"
#include "kernels/estep/overflow-inl.h"
#include "kernels/estep/labels-inl.h"
#include "kernels/estep/posterior-inl.h"
#include "kernels/estep/assigned-inl.h"
#include "kernels/estep/local_step-inl.h"
#include "kernels/estep/triangle-inl.h"
#include "kernels/estep/dense_moments-inl.h"
#include "kernels/estep/direct_moments-inl.h"
#include "kernels/estep/gathered_moments-inl.h"
#include "kernels/estep/sparse_moments-inl.h"
#include "kernels/estep/total_scatter-inl.h"
#include "kernels/estep/summary_step-inl.h"
#include "kernels/estep/centre_blocks-inl.h"
#include "kernels/estep/search-inl.h"
#include "kernels/estep/label_sums-inl.h"
#include "kernels/estep/seeding-inl.h"
#include "kernels/estep/factor_blocks-inl.h"
#include "kernels/estep/pairs-inl.h"
#include "kernels/estep/candidate_posterior-inl.h"
// clang-format on

template <class T>
constexpr Kernels<T> level_kernels = {group_rows<T>,
                                      Blocking::factor_columns,
                                      Blocking::distance_components,
                                      Blocking::moment_components,
                                      Blocking::moment_features,
                                      Lanes<T>::width,
                                      Blocking::outer_vectors * Lanes<T>::width,
                                      local_step<T>,
                                      summary_step<T>,
                                      seeding_step<T>,
                                      search_step<T>,
                                      gaps_of_centre<T>,
                                      mark_near<T>,
                                      nearest_labels<T>,
                                      labelled_rows<T>,
                                      label_sums<T>,
                                      pair_log_joints<T>,
                                      best_pairs<T>,
                                      sum_differences<T>,
                                      load_candidate_rows<T>,
                                      kept_posterior<T>,
                                      gathered_moments<T>};
