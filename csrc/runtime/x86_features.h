// What an x86-64 processor offers and its operating system allows.
#pragma once

#include "runtime/compiler.h"

#if VBFAST_X86
namespace vbfast::runtime {

// AVX2 and FMA.
bool has_avx2_and_fma();

// AVX-512 F, DQ, BW and VL.
bool has_avx512_f_dq_bw_vl();

}  // namespace vbfast::runtime
#endif
