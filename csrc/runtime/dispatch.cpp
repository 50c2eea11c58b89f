#include "runtime/dispatch.h"

#include <cstdlib>
#include <stdexcept>

#include "runtime/levels.h"
#include "runtime/x86_features.h"

namespace vbfast::runtime {

namespace {

// Whether this machine has a level.
bool has_baseline() {
    return true;
}
#if VBFAST_HAVE_AVX2
bool has_avx2() {
    return has_avx2_and_fma();
}
#endif
#if VBFAST_HAVE_AVX512
bool has_avx512() {
    return has_avx512_f_dq_bw_vl() || VBFAST_EMULATE_AVX512;
}
#endif
#if VBFAST_HAVE_NEON
bool has_neon() {
    return true;  // part of every 64-bit Arm processor
}
#endif

struct BuiltLevel {
    const char* name;
    bool (*available)();
};

#define VBFAST_BUILT_LEVEL(level) {#level, has_##level},
constexpr BuiltLevel levels[] = {VBFAST_EACH_LEVEL(VBFAST_BUILT_LEVEL)};
#undef VBFAST_BUILT_LEVEL

constexpr std::size_t n_levels = sizeof(levels) / sizeof(levels[0]);

std::size_t choose() {
    const char* wanted = std::getenv("VBFAST_SIMD");
    const bool any = wanted == nullptr || *wanted == '\0';
    for (std::size_t i = n_levels; i-- > 0;)
        if ((any || levels[i].name == std::string(wanted)) && levels[i].available()) return i;
    std::string message = "VBFAST_SIMD=" + std::string(wanted) + ": this machine has";
    for (const std::string& name : available_levels()) message += " " + name;
    throw std::invalid_argument(message);
}

}  // namespace

std::vector<std::string> built_levels() {
    std::vector<std::string> names;
    for (const BuiltLevel& built : levels) names.emplace_back(built.name);
    return names;
}

std::vector<std::string> available_levels() {
    std::vector<std::string> names;
    for (const BuiltLevel& built : levels)
        if (built.available()) names.emplace_back(built.name);
    return names;
}

std::size_t level() {
    static const std::size_t chosen = choose();
    return chosen;
}

const char* level_name() {
    return levels[level()].name;
}

}  // namespace vbfast::runtime
