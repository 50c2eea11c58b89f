#include "kernels/linalg/table.h"

#include "runtime/dispatch.h"
#include "runtime/levels.h"

namespace vbfast::linalg {

using Table = Kernels;

VBFAST_EACH_LEVEL(VBFAST_DECLARE_TABLE)

namespace {

constexpr const Table* tables[] = {VBFAST_EACH_LEVEL(VBFAST_TABLE_ADDRESS)};

}  // namespace

const Kernels& kernels() {
    static const Kernels& chosen = *tables[runtime::level()];
    return chosen;
}

}  // namespace vbfast::linalg
