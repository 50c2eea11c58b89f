#include <math.h>

#include <cstdint>

#include "kernels/arrays/table.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#else
#include <cmath>
#endif

namespace vbfast {
namespace baseline {
namespace {

#if defined(__SSE2__)
#include "simd/sse2.h"
#else
#include "simd/scalar.h"
#endif
// The lanes first: every kernel is written over them.
#include "kernels/arrays/all-inl.h"

}  // namespace

extern const ArrayTable arrays;
const ArrayTable arrays = {array_kernels<float>, array_kernels<double>};

}  // namespace baseline
}  // namespace vbfast
