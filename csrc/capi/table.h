// The functions of vbfast.h over this library's kernels and pool.
#pragma once

#include "vbfast.h"

namespace vbfast::capi {

const vbfast_api& function_table();

}  // namespace vbfast::capi
