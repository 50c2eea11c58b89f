#include "kernels/arrays/table.h"

#include "runtime/dispatch.h"
#include "runtime/levels.h"

namespace vbfast::arrays {

VBFAST_EACH_LEVEL(VBFAST_DECLARE_TABLE)

namespace {

constexpr const Table* tables[] = {VBFAST_EACH_LEVEL(VBFAST_TABLE_ADDRESS)};

const Table& table() {
    static const Table& chosen = *tables[runtime::level()];
    return chosen;
}

}  // namespace

template <>
const Kernels<float>& kernels<float>() {
    return table().f32;
}

template <>
const Kernels<double>& kernels<double>() {
    return table().f64;
}

}  // namespace vbfast::arrays
