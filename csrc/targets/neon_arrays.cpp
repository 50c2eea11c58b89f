#include <math.h>

#include <cstdint>

#include <arm_neon.h>
#include "kernels/arrays/table.h"
#include "runtime/compiler.h"
#include "runtime/numbers.h"

namespace vbfast::arrays {
namespace neon {
namespace {

#include "simd/neon.h"
// The lanes first: every kernel is written over them.
#include "kernels/arrays/all-inl.h"

}  // namespace

extern const Table table;
const Table table = {level_kernels<float>, level_kernels<double>};

}  // namespace neon
}  // namespace vbfast::arrays
