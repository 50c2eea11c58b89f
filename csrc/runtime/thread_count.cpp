#include "runtime/thread_count.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

#include "runtime/compiler.h"
#include "runtime/processors.h"
#include "runtime/tuning.h"

namespace vbfast::runtime {

namespace {

std::atomic<int> chosen_threads{0};

int positive_number(const char* text) {
    if (text == nullptr) return 0;
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    return end != text && value > 0 && value < 1 << 16 ? static_cast<int>(value) : 0;
}

int default_threads() {
    static const int number = [] {
        const char* own = std::getenv("VBFAST_NUM_THREADS");
        int n = positive_number(own);
        if (own != nullptr && *own != 0 && (n == 0 || own != std::to_string(n)))
            throw std::invalid_argument(std::string("VBFAST_NUM_THREADS=") + own +
                                        " is not a number of threads; use 1 or more, or unset it.");
        if (n == 0) n = positive_number(std::getenv("OMP_NUM_THREADS"));
        return n > 0 ? n : available_threads();
    }();
    return number;
}

}  // namespace

int available_threads() {
    int n = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
    const int allowed = processors_of_affinity(sched_getaffinity);
    if (allowed > 0) n = allowed;
    const int limit = control_group_limit("");
    if (limit > 0 && limit < n) n = limit;
#endif
    return n > 0 ? n : 1;
}

int get_num_threads() {
    const int chosen = chosen_threads.load();
    return chosen > 0 ? chosen : default_threads();
}

void set_num_threads(int num_threads) {
    chosen_threads.store(num_threads > 0 ? num_threads : 0);
}

int most_threads() {
    constexpr int least = 64;  // leaves tests and small machines some freedom
    static const int number =
        std::max(least, static_cast<int>(std::thread::hardware_concurrency()));
    return number;
}

int threads_for(std::int64_t operations, int num_threads) {
    const std::int64_t wanted = num_threads > 0 ? num_threads : get_num_threads();
    const std::int64_t most = std::min<std::int64_t>(wanted, most_threads());
    return static_cast<int>(
        std::clamp<std::int64_t>(operations / tuning::thread_operations, 1, most));
}

}  // namespace vbfast::runtime

extern "C" {
// For threadpoolctl, which finds them by name in the loaded library.
VBFAST_EXPORTED int vbfast_get_num_threads() {
    return vbfast::runtime::get_num_threads();
}
VBFAST_EXPORTED void vbfast_set_num_threads(int num_threads) {
    vbfast::runtime::set_num_threads(num_threads);
}
}
