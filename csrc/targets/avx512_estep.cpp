#include <math.h>

#include <cstdint>

#include <immintrin.h>
#include "kernels/estep/table.h"

namespace vbfast {
namespace avx512 {
namespace {

#include "simd/avx512.h"
// The lanes first: every kernel is written over them.
#include "kernels/estep/all-inl.h"

}  // namespace

extern const ArrayTable arrays;
extern const KernelTable table;
const KernelTable table = {"avx512", kernel_set<float>, kernel_set<double>, matrix_set, &arrays};

}  // namespace avx512
}  // namespace vbfast
