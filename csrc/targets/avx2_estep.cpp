#include <math.h>

#include <cstdint>

#include <immintrin.h>
#include "kernels/estep/table.h"

namespace vbfast {
namespace avx2 {
namespace {

#include "simd/avx2.h"
// The lanes first: every kernel is written over them.
#include "kernels/estep/all-inl.h"

}  // namespace

extern const ArrayTable arrays;
extern const KernelTable table;
const KernelTable table = {"avx2", kernel_set<float>, kernel_set<double>, matrix_set, &arrays};

}  // namespace avx2
}  // namespace vbfast
