#include <math.h>

#include <cstdint>

#include <immintrin.h>
#include "kernels/linalg/table.h"
#include "runtime/compiler.h"
#include "runtime/numbers.h"

namespace vbfast::linalg {
namespace avx512 {
namespace {

#include "simd/avx512.h"
// The lanes first: every kernel is written over them.
#include "kernels/linalg/all-inl.h"

}  // namespace

extern const Kernels table;
const Kernels table = level_kernels;

}  // namespace avx512
}  // namespace vbfast::linalg
