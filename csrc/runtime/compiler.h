// What compilers spell in different ways, for GCC, Clang and MSVC.
//
// Macros only. The linker would keep one copy of a function for all units that include it, perhaps
// one that has instructions of AVX-512.
#pragma once

#if defined(_MSC_VER) && !defined(__clang__)
#define VBFAST_MSVC 1
#include <intrin.h>
#else
#define VBFAST_MSVC 0
#endif

#if defined(__x86_64__) || defined(_M_X64)
#define VBFAST_X86 1  // with SSE2, which all of them have
#else
#define VBFAST_X86 0
#endif

// Before functions, and after the parameters of lambdas, that the compiler would not inline by
// itself. A call in a loop writes all registers to memory, and a body that is compiled by itself
// loses what is known of its arguments, that a count is positive, say.
#if VBFAST_MSVC
#define VBFAST_INLINED [[msvc::forceinline]]
#else
#define VBFAST_INLINED __attribute__((always_inline))
#endif

// Before a loop over at most n elements of an array that is to stay in registers.
#define VBFAST_PRAGMA(text) _Pragma(#text)
#if VBFAST_MSVC
#define VBFAST_UNROLL(n)
#elif defined(__clang__)
#define VBFAST_UNROLL(n) VBFAST_PRAGMA(clang loop unroll_count(n))
#else
#define VBFAST_UNROLL(n) VBFAST_PRAGMA(GCC unroll n)
#endif

// Before a function that other programs find by name in the module.
#if defined(_WIN32)
#define VBFAST_EXPORTED __declspec(dllexport)
#else
#define VBFAST_EXPORTED __attribute__((visibility("default")))
#endif

// VBFAST_LOWEST_BIT: the place of the lowest bit that is set, of an unsigned int that has some.
// VBFAST_COUNT_BITS: the number of bits that are set in an unsigned int.
// VBFAST_PREFETCH: asks for the line at any address, of which nothing need be there.
#if VBFAST_MSVC
#define VBFAST_LOWEST_BIT(bits) static_cast<int>(_tzcnt_u32(bits))
#define VBFAST_COUNT_BITS(bits) static_cast<int>(__popcnt(bits))
#define VBFAST_PREFETCH(address) _mm_prefetch(reinterpret_cast<const char*>(address), _MM_HINT_T0)
#else
#define VBFAST_LOWEST_BIT(bits) __builtin_ctz(bits)
#define VBFAST_COUNT_BITS(bits) __builtin_popcount(bits)
#define VBFAST_PREFETCH(address) __builtin_prefetch(address)
#endif
