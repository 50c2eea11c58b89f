#include <math.h>
#include <string.h>

#include <cstdint>

#include <immintrin.h>
#include "kernels/estep/table.h"
#include "runtime/compiler.h"
#include "runtime/numbers.h"

namespace vbfast::estep {
namespace avx2 {
namespace {

#include "simd/avx2.h"
// The lanes first: every kernel is written over them.
#include "kernels/estep/all-inl.h"

}  // namespace

extern const Table table;
const Table table = {level_kernels<float>, level_kernels<double>};

}  // namespace avx2
}  // namespace vbfast::estep
