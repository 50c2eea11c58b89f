#include "runtime/dispatch.h"

#include <cstdlib>
#include <stdexcept>

namespace vbfast {

namespace baseline {
extern const KernelTable table;
}
#if VBFAST_HAVE_AVX2
namespace avx2 {
extern const KernelTable table;
}
#endif
#if VBFAST_HAVE_AVX512
namespace avx512 {
extern const KernelTable table;
}
#endif
#if VBFAST_HAVE_NEON
namespace neon {
extern const KernelTable table;
}
#endif

namespace {

struct Level {
    const KernelTable* table;
    bool supported;
};

// Lowest first. The compiler's checks cover the operating system's part: saved registers.
std::vector<Level> levels() {
    std::vector<Level> all = {{&baseline::table, true}};
#if VBFAST_HAVE_AVX2
    all.push_back({&avx2::table, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")});
#endif
#if VBFAST_HAVE_AVX512
    const bool native = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
    all.push_back({&avx512::table, native || VBFAST_EMULATE_AVX512});
#endif
#if VBFAST_HAVE_NEON
    all.push_back({&neon::table, true});  // part of every 64-bit Arm processor
#endif
    return all;
}

std::vector<std::string> names(bool supported_only) {
    std::vector<std::string> result;
    for (const Level& level : levels())
        if (level.supported || !supported_only) result.emplace_back(level.table->name);
    return result;
}

const KernelTable& choose() {
    const char* wanted = std::getenv("VBFAST_SIMD");
    const bool any = wanted == nullptr || *wanted == '\0';
    const KernelTable* best = nullptr;
    for (const Level& level : levels())
        if (level.supported && (any || level.table->name == std::string(wanted)))
            best = level.table;
    if (best != nullptr) return *best;
    std::string message = "VBFAST_SIMD=" + std::string(wanted) + ": this machine has";
    for (const std::string& name : available_levels()) message += " " + name;
    throw std::invalid_argument(message);
}

}  // namespace

std::vector<std::string> available_levels() {
    return names(true);
}

std::vector<std::string> built_levels() {
    return names(false);
}

const KernelTable& kernels() {
    static const KernelTable& table = choose();
    return table;
}

}  // namespace vbfast
