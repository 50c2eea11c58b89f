#include <math.h>

#include <cstdint>

#include "kernels/estep/table.h"
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
#include "kernels/estep/all-inl.h"

}  // namespace

extern const ArrayTable arrays;
extern const KernelTable table;
const KernelTable table = {"baseline", kernel_set<float>, kernel_set<double>, matrix_set, &arrays};

}  // namespace baseline
}  // namespace vbfast
