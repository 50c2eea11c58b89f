#include <math.h>

#include <cstdint>

#include <immintrin.h>
#include "kernels/arrays/table.h"
#include "runtime/compiler.h"
#include "runtime/numbers.h"

namespace vbfast::arrays {
namespace avx512 {
namespace {

#include "simd/avx512.h"
// The lanes first: every kernel is written over them.
#include "kernels/arrays/all-inl.h"

}  // namespace

extern const Table table;
const Table table = {level_kernels<float>, level_kernels<double>};

}  // namespace avx512
}  // namespace vbfast::arrays
