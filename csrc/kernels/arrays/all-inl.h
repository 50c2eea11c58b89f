// The kernels of the array functions, of one level, over lanes that the target includes first.

// In the order of their dependence, not of the alphabet.
// clang-format off
#include "kernels/count-inl.h"
#include "kernels/transcendental-inl.h"
#include "kernels/arrays/vectors-inl.h"
#include "kernels/arrays/stores-inl.h"
#include "kernels/arrays/operations-inl.h"
#include "kernels/arrays/parameters-inl.h"
#include "kernels/arrays/reduce_rows-inl.h"
#include "kernels/arrays/reduce_columns-inl.h"
#include "kernels/arrays/reducers-inl.h"
#include "kernels/arrays/maps-inl.h"
#include "kernels/arrays/fused-inl.h"
// clang-format on

template <class T>
constexpr Kernels<T> level_kernels = {
    {reducer<SumExp<T, false>, T>, scaled_reducer<T>, reducer<LogitsEntropy<T>, T>,
     reducer<ProbsEntropy<T>, T>, reducer<Pair<T, true, true>, T>, reducer<Pair<T, true, false>, T>,
     reducer<Pair<T, false, true>, T>, reducer<Pair<T, false, false>, T>},
    {mapper<SoftmaxMap<T>, T>(fused_row<SoftmaxMap<T>, T>, keep_softmax<T>, scale_softmax<T>),
     mapper<LogSoftmaxMap<T>, T>(nullptr),
     mapper<PosteriorGradientMap<T>, T>(fused_row<PosteriorGradientMap<T>, T>),
     mapper<GradientMap<T, true>, T>(fused_row<GradientMap<T, true>, T>),
     mapper<GradientMap<T, false>, T>(fused_row<GradientMap<T, false>, T>)}};
