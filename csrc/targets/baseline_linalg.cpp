#include <math.h>

#include <cstdint>

#include "kernels/linalg/table.h"
#include "runtime/compiler.h"
#include "runtime/numbers.h"
#if VBFAST_X86
#include <emmintrin.h>
#else
#include <cmath>
#endif

namespace vbfast::linalg {
namespace baseline {
namespace {

#if VBFAST_X86
#include "simd/sse2.h"
#else
#include "simd/scalar.h"
#endif
// The lanes first: every kernel is written over them.
#include "kernels/linalg/all-inl.h"

}  // namespace

extern const Kernels table;
const Kernels table = level_kernels;

}  // namespace baseline
}  // namespace vbfast::linalg
