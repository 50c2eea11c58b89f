#include "threads.h"

#if defined(__linux__)
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#endif

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "expect.h"

namespace {

using vbfast::parallel_for;
using vbfast::Region;
using vbfast::RunStatus;

struct Counts {
    std::vector<std::atomic<int>> visits;
    int num_threads;
};

void count(void* context, std::int64_t task, int worker, Region&) {
    Counts& counts = *static_cast<Counts*>(context);
    EXPECT(worker >= 0 && worker < counts.num_threads);
    ++counts.visits[static_cast<std::size_t>(task)];
}

void every_task_runs_once() {
    for (int num_threads : {1, 2, 3, 8})
        for (int repeat = 0; repeat < 200; ++repeat) {
            Counts counts{std::vector<std::atomic<int>>(37), num_threads};
            EXPECT(parallel_for(37, num_threads, count, &counts, nullptr) == RunStatus::finished);
            for (const auto& visits : counts.visits) EXPECT(visits == 1);
        }
}

void nested_regions_are_serial() {
    std::atomic<int> total{0};
    const auto inner = [](void* context, std::int64_t, int worker, Region&) {
        EXPECT(worker == 0);
        ++*static_cast<std::atomic<int>*>(context);
    };
    struct Outer {
        vbfast::TaskFunction inner;
        std::atomic<int>* total;
    } outer{inner, &total};
    const auto task = [](void* context, std::int64_t, int, Region&) {
        const Outer& self = *static_cast<Outer*>(context);
        parallel_for(5, 4, self.inner, self.total, nullptr);
    };
    parallel_for(8, 4, task, &outer, nullptr);
    EXPECT(total == 40);
}

void concurrent_callers_all_finish() {
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; ++i) callers.emplace_back(every_task_runs_once);
    for (std::thread& caller : callers) caller.join();
}

void an_interrupt_stops_the_region() {
    const vbfast::Interrupt interrupt = {[](void*) { return true; }, nullptr};
    const auto wait = [](void*, std::int64_t, int worker, Region& region) {
        while (!vbfast::stop_requested(region, worker))
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
    for (int num_threads : {1, 2, 4})
        EXPECT(parallel_for(100, num_threads, wait, nullptr, &interrupt) == RunStatus::interrupted);
}

void short_work_stays_on_one_thread() {
    EXPECT(vbfast::threads_for(1000, 4) == 1);
    EXPECT(vbfast::threads_for(1000, 0) == 1);
    EXPECT(vbfast::threads_for(1 << 20, 4) == 4);
    EXPECT(vbfast::threads_for(1 << 20, 0) == vbfast::get_num_threads());
}

// Sanitizers reserve address space without end.
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void threads_that_do_not_start_are_done_without() {
    std::ifstream pages("/proc/self/statm");
    rlim_t used = 0;
    EXPECT(static_cast<bool>(pages >> used));
    rlimit before{};
    EXPECT(getrlimit(RLIMIT_AS, &before) == 0);
    rlimit tight = before;
    tight.rlim_cur = used * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (20u << 20);
    EXPECT(setrlimit(RLIMIT_AS, &tight) == 0);
    Counts counts{std::vector<std::atomic<int>>(500), 400};
    EXPECT(parallel_for(500, 400, count, &counts, nullptr) == RunStatus::finished);
    for (const auto& visits : counts.visits) EXPECT(visits == 1);
    EXPECT(setrlimit(RLIMIT_AS, &before) == 0);
    every_task_runs_once();
}
#else
void threads_that_do_not_start_are_done_without() {}
#endif

}  // namespace

int main() {
    every_task_runs_once();
    short_work_stays_on_one_thread();
    threads_that_do_not_start_are_done_without();
    nested_regions_are_serial();
    concurrent_callers_all_finish();
    an_interrupt_stops_the_region();
    EXPECT(vbfast::available_threads() >= 1);
    vbfast::set_num_threads(3);
    EXPECT(vbfast::get_num_threads() == 3);
    vbfast::set_num_threads(0);
    EXPECT(vbfast::get_num_threads() >= 1);
    return 0;
}
