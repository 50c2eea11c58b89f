#include <math.h>

#include <cstdint>

#include "kernels/estep/table.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#else
#include <cmath>
#endif

namespace vbfast::estep {
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

extern const Table table;
const Table table = {level_kernels<float>, level_kernels<double>};

}  // namespace baseline
}  // namespace vbfast::estep
