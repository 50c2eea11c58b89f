#include <math.h>

#include <cstdint>

#include <arm_neon.h>
#include "kernels/estep/table.h"

namespace vbfast {
namespace neon {
namespace {

#include "simd/neon.h"
// The lanes first: every kernel is written over them.
#include "kernels/estep/all-inl.h"

}  // namespace

extern const ArrayTable arrays;
extern const KernelTable table;
const KernelTable table = {"neon", kernel_set<float>, kernel_set<double>, matrix_set, &arrays};

}  // namespace neon
}  // namespace vbfast
