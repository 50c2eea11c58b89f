// What CPUID says of the processor, against what the system says.
#include "runtime/x86_features.h"

#include <fstream>
#include <sstream>
#include <string>

#include "expect.h"

namespace {

// Whether the first processor of /proc/cpuinfo has all of the flags.
bool listed(const std::string& flags) {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        if (line.compare(0, 5, "flags") != 0) continue;
        std::istringstream wanted(flags);
        line += ' ';
        for (std::string flag; wanted >> flag;)
            if (line.find(' ' + flag + ' ') == std::string::npos) return false;
        return true;
    }
    EXPECT(!"a line of flags in /proc/cpuinfo");
    return false;
}

}  // namespace

int main() {
    EXPECT(vbfast::runtime::has_avx2_and_fma() == listed("avx avx2 fma"));
    EXPECT(vbfast::runtime::has_avx512_f_dq_bw_vl() ==
           listed("avx avx2 fma avx512f avx512dq avx512bw avx512vl"));
    return 0;
}
