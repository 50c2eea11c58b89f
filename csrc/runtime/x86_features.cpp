#include "runtime/x86_features.h"

#if VBFAST_X86
#include <cstdint>

#if VBFAST_MSVC
#include <immintrin.h>
#else
#include <cpuid.h>
#endif

namespace vbfast::runtime {

namespace {

struct Registers {
    std::uint32_t eax, ebx, ecx, edx;
};

// The CPUID instruction for a leaf and subleaf 0; zeros for a leaf that the processor lacks.
Registers cpuid(std::uint32_t leaf) {
#if VBFAST_MSVC
    int highest[4], found[4];
    __cpuidex(highest, 0, 0);
    if (static_cast<std::uint32_t>(highest[0]) < leaf) return {};
    __cpuidex(found, static_cast<int>(leaf), 0);
    return {static_cast<std::uint32_t>(found[0]), static_cast<std::uint32_t>(found[1]),
            static_cast<std::uint32_t>(found[2]), static_cast<std::uint32_t>(found[3])};
#else
    Registers found = {};
    __get_cpuid_count(leaf, 0, &found.eax, &found.ebx, &found.ecx, &found.edx);
    return found;
#endif
}

constexpr bool has(std::uint64_t set, std::uint64_t bits) {
    return (set & bits) == bits;
}

constexpr std::uint64_t bit(int place) {
    return std::uint64_t{1} << place;
}

// Whether the operating system saves these parts of the registers when it switches threads: bits of
// the register XCR0, which is there if the processor says so.
bool saves(std::uint64_t parts) {
    if (!has(cpuid(1).ecx, bit(27))) return false;
#if VBFAST_MSVC
    return has(_xgetbv(0), parts);
#else
    std::uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return has(low, parts);
#endif
}

constexpr std::uint64_t vectors = bit(1) | bit(2);                // of 128 and 256 bits
constexpr std::uint64_t wide_vectors = bit(5) | bit(6) | bit(7);  // of 512 bits, and masks
constexpr std::uint64_t fma_bit = bit(12);                        // of leaf 1, ecx
constexpr std::uint64_t avx2_bit = bit(5);                        // of leaf 7, ebx
constexpr std::uint64_t avx512_bits = bit(16) | bit(17) | bit(30) | bit(31);  // F, DQ, BW, VL

}  // namespace

bool has_avx2_and_fma() {
    return saves(vectors) && has(cpuid(1).ecx, fma_bit) && has(cpuid(7).ebx, avx2_bit);
}

bool has_avx512_f_dq_bw_vl() {
    return has_avx2_and_fma() && saves(vectors | wide_vectors) && has(cpuid(7).ebx, avx512_bits);
}

}  // namespace vbfast::runtime
#endif
