#include <math.h>

#include <cstdint>

#include <arm_neon.h>
#include "kernels/linalg/table.h"
#include "runtime/compiler.h"
#include "runtime/numbers.h"

namespace vbfast::linalg {
namespace neon {
namespace {

#include "simd/neon.h"
// The lanes first: every kernel is written over them.
#include "kernels/linalg/all-inl.h"

}  // namespace

extern const Kernels table;
const Kernels table = level_kernels;

}  // namespace neon
}  // namespace vbfast::linalg
