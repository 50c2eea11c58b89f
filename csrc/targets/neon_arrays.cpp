#include <math.h>

#include <cstdint>

#include <arm_neon.h>
#include "kernels/arrays/table.h"

namespace vbfast {
namespace neon {
namespace {

#include "simd/neon.h"
// The lanes first: every kernel is written over them.
#include "kernels/arrays/all-inl.h"

}  // namespace

extern const ArrayTable arrays;
const ArrayTable arrays = {array_kernels<float>, array_kernels<double>};

}  // namespace neon
}  // namespace vbfast
