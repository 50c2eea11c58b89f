// The instruction-set levels that were built, lowest first. VBFAST_EACH_LEVEL(X) writes
// X(baseline), X(avx2), ... in that order.
#pragma once

#if VBFAST_HAVE_AVX2
#define VBFAST_IF_AVX2(X) X(avx2)
#else
#define VBFAST_IF_AVX2(X)
#endif
#if VBFAST_HAVE_AVX512
#define VBFAST_IF_AVX512(X) X(avx512)
#else
#define VBFAST_IF_AVX512(X)
#endif
#if VBFAST_HAVE_NEON
#define VBFAST_IF_NEON(X) X(neon)
#else
#define VBFAST_IF_NEON(X)
#endif

#define VBFAST_EACH_LEVEL(X) X(baseline) VBFAST_IF_AVX2(X) VBFAST_IF_AVX512(X) VBFAST_IF_NEON(X)

// For a list of the tables that one room's kernels have, each in the namespace of its level.
#define VBFAST_DECLARE_TABLE(level) \
    namespace level {               \
    extern const Table table;       \
    }
#define VBFAST_TABLE_ADDRESS(level) &level::table,
