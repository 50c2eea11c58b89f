#include <math.h>

#include <cstdint>

#include "kernels/arrays/table.h"
#include "runtime/compiler.h"
#include "runtime/numbers.h"
#if VBFAST_X86
#include <emmintrin.h>
#else
#include <cmath>
#endif

namespace vbfast::arrays {
namespace baseline {
namespace {

#if VBFAST_X86
#include "simd/sse2.h"
#else
#include "simd/scalar.h"
#endif
// The lanes first: every kernel is written over them.
#include "kernels/arrays/all-inl.h"

}  // namespace

extern const Table table;
const Table table = {level_kernels<float>, level_kernels<double>};

}  // namespace baseline
}  // namespace vbfast::arrays
