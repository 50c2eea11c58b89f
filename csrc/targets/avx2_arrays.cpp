#include <math.h>

#include <cstdint>

#include <immintrin.h>
#include "kernels/arrays/table.h"

namespace vbfast {
namespace avx2 {
namespace {

#include "simd/avx2.h"
// The lanes first: every kernel is written over them.
#include "kernels/arrays/all-inl.h"

}  // namespace

extern const ArrayTable arrays;
const ArrayTable arrays = {array_kernels<float>, array_kernels<double>};

}  // namespace avx2
}  // namespace vbfast
