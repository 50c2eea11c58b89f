#include "runtime/threads.h"

#if defined(__linux__)
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "expect.h"
#include "runtime/processors.h"
#include "runtime/thread_count.h"

namespace {

using vbfast::runtime::parallel_for;
using vbfast::runtime::Region;

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
            parallel_for(37, num_threads, count, &counts, nullptr);
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
        vbfast::runtime::TaskFunction inner;
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
    const vbfast::runtime::Interrupt interrupt = {[](void*) { return true; }, nullptr};
    const auto wait = [](void*, std::int64_t, int worker, Region& region) {
        while (!vbfast::runtime::stop_requested(region, worker))
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
    for (int num_threads : {1, 2, 4}) {
        bool interrupted = false;
        try {
            parallel_for(100, num_threads, wait, nullptr, &interrupt);
        } catch (const vbfast::runtime::Interrupted&) {
            interrupted = true;
        }
        EXPECT(interrupted);
    }
}

// Whether the tasks of a call all find threads at the same time: they wait for one another.
bool run_together(int num_threads) {
    std::atomic<int> arrived{0};
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    vbfast::runtime::parallel(num_threads, num_threads, nullptr, [&](std::int64_t, int, Region&) {
        ++arrived;
        while (arrived < num_threads && std::chrono::steady_clock::now() < deadline)
            std::this_thread::yield();
    });
    return std::chrono::steady_clock::now() < deadline;
}

// A task throws on the caller (0) or on a worker, while all other threads are within a task.
void what_a_task_throws_reaches_the_caller(int thrower) {
    constexpr int num_threads = 3;
    std::atomic<int> arrived{0}, begun{0};
    const auto task = [&](std::int64_t, int worker, Region& region) {
        ++begun;
        ++arrived;
        while (arrived < num_threads) std::this_thread::yield();
        if (worker == thrower) throw std::domain_error("thrown by a task");
        while (!vbfast::runtime::stop_requested(region, worker)) std::this_thread::yield();
    };
    bool caught = false;
    try {
        vbfast::runtime::parallel(1000, num_threads, nullptr, task);
    } catch (const std::domain_error& error) {
        caught = std::string(error.what()) == "thrown by a task";
    }
    EXPECT(caught);
    EXPECT(begun == num_threads);       // no task was begun after it
    EXPECT(run_together(num_threads));  // the pool is free, and its workers are there
}

void what_a_task_throws_on_one_thread_reaches_the_caller() {
    for (int num_threads : {1, 2}) {
        int begun = 0;
        bool caught = false;
        const auto inner = [&](std::int64_t, int, Region&) {
            ++begun;
            throw std::bad_alloc();
        };
        try {
            if (num_threads == 1)
                vbfast::runtime::parallel(5, 1, nullptr, inner);
            else  // nested, which is serial
                vbfast::runtime::parallel(1, 2, nullptr, [&](std::int64_t, int, Region&) {
                    vbfast::runtime::parallel(5, 2, nullptr, inner);
                });
        } catch (const std::bad_alloc&) {
            caught = true;
        }
        EXPECT(caught && begun == 1);
        EXPECT(run_together(2));  // this thread is no longer taken to be inside a task
    }
}

void no_more_threads_than_processors_or_64() {
    const int most = std::max(64, static_cast<int>(std::thread::hardware_concurrency()));
    EXPECT(vbfast::runtime::threads_for(std::int64_t{1} << 40, 65535) == most);
    std::atomic<int> highest{0};
    vbfast::runtime::parallel(2000, 65535, nullptr, [&](std::int64_t, int worker, Region&) {
        int seen = highest;
        while (worker > seen && !highest.compare_exchange_weak(seen, worker)) {
        }
    });
    EXPECT(highest < most);
}

#if defined(__linux__)
// ThreadSanitizer does not take threads in the child of a process that had some.
#if !defined(__SANITIZE_THREAD__)
// The interrupt forks, as a signal handler may: the parent finishes, and the child is told.
void a_fork_within_a_call() {
    static pid_t child = -1;
    child = -1;
    const vbfast::runtime::Interrupt interrupt = {[](void*) {
                                                      if (child < 0) child = fork();
                                                      return false;
                                                  },
                                                  nullptr};
    std::atomic<int> done{0};
    const auto task = [&](std::int64_t, int, Region&) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        ++done;
    };
    bool told = false;
    try {
        vbfast::runtime::parallel(40, 2, &interrupt, task);
    } catch (const std::runtime_error&) {
        told = true;
    }
    if (child == 0) {
        every_task_runs_once();  // with a pool of its own
        std::_Exit(told && run_together(2) ? 0 : 1);
    }
    EXPECT(child > 0 && !told && done == 40);
    int status = -1;
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// One thread has all that the call needs.
void a_fork_within_a_call_on_one_thread() {
    static pid_t child = -1;
    const vbfast::runtime::Interrupt interrupt = {[](void*) {
                                                      if (child < 0) child = fork();
                                                      return false;
                                                  },
                                                  nullptr};
    int done = 0;
    vbfast::runtime::parallel(40, 1, &interrupt, [&](std::int64_t, int, Region&) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        ++done;
    });
    if (child == 0) std::_Exit(done == 40 ? 0 : 1);
    int status = -1;
    EXPECT(child > 0 && done == 40 && waitpid(child, &status, 0) == child);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
#else
void a_fork_within_a_call() {}
void a_fork_within_a_call_on_one_thread() {}
#endif

// Stands for the system call on a machine of 3,000 processors, of which 1,500 are allowed.
int large_affinity(pid_t, std::size_t size, cpu_set_t* set) {
    if (size * 8 < 3000) {
        errno = EINVAL;
        return -1;
    }
    CPU_ZERO_S(size, set);
    for (int i = 0; i < 3000; i += 2) CPU_SET_S(i, size, set);
    return 0;
}

void affinity_of_any_size() {
    EXPECT(vbfast::runtime::processors_of_affinity(large_affinity) == 1500);
    cpu_set_t own;
    EXPECT(sched_getaffinity(0, sizeof(own), &own) == 0);
    EXPECT(vbfast::runtime::processors_of_affinity(sched_getaffinity) == CPU_COUNT(&own));
    EXPECT(vbfast::runtime::processors_of_affinity([](pid_t, std::size_t, cpu_set_t*) {
               errno = EPERM;
               return -1;
           }) == 0);
}

// A tree of files as the kernel shows them.
class Tree {
  public:
    Tree() {
        const char* temporary = std::getenv("TMPDIR");
        std::string name = std::string(temporary ? temporary : "/tmp") + "/vbfast_groups_XXXXXX";
        EXPECT(mkdtemp(name.data()) != nullptr);
        root = name;
    }
    ~Tree() { std::filesystem::remove_all(root); }
    void write(const std::string& path, const std::string& text) const {
        const std::filesystem::path file = root + path;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << text;
    }
    int limit() const { return vbfast::runtime::control_group_limit(root); }
    std::string root;
};

const char unified_mount[] =
    "22 1 0:20 / /proc rw - proc proc rw\n"
    "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

void limits_of_nested_groups() {
    Tree tree;
    EXPECT(tree.limit() == 0);  // no files at all
    tree.write("/proc/self/mountinfo", unified_mount);
    tree.write("/proc/self/cgroup", "0::/pods/one/inner\n");
    EXPECT(tree.limit() == 0);
    tree.write("/sys/fs/cgroup/pods/one/inner/cpu.max", "max 100000\n");
    EXPECT(tree.limit() == 0);
    tree.write("/sys/fs/cgroup/pods/one/cpu.max", "250000 100000\n");
    EXPECT(tree.limit() == 3);  // two and a half
    tree.write("/sys/fs/cgroup/pods/cpu.max", "400000 50000\n");
    EXPECT(tree.limit() == 3);  // eight above
    tree.write("/sys/fs/cgroup/pods/one/inner/cpu.max", "50000 100000\n");
    EXPECT(tree.limit() == 1);
    tree.write("/sys/fs/cgroup/pods/two/cpu.max", "1000 100000\n");
    tree.write("/proc/self/cgroup", "0::/pods\n");
    EXPECT(tree.limit() == 8);  // not of groups below or beside
}

// Version 1, with other hierarchies and a path that mountinfo has to escape.
void limits_of_version_1() {
    Tree tree;
    tree.write("/proc/self/mountinfo",
               "40 1 0:31 / /groups/memory rw - cgroup cgroup rw,memory\n"
               "41 1 0:32 /docker/x /groups/time\\040and\\040count rw - cgroup cgroup "
               "rw,cpu,cpuacct\n");
    tree.write("/proc/self/cgroup", "5:memory:/a\n4:cpu,cpuacct:/docker/x/a\n0::/\n");
    tree.write("/groups/memory/a/cpu.cfs_quota_us", "1\n");
    tree.write("/groups/memory/a/cpu.cfs_period_us", "100000\n");
    tree.write("/groups/time and count/a/cpu.cfs_quota_us", "-1\n");
    tree.write("/groups/time and count/a/cpu.cfs_period_us", "100000\n");
    EXPECT(tree.limit() == 0);
    tree.write("/groups/time and count/cpu.cfs_quota_us", "600000\n");
    tree.write("/groups/time and count/cpu.cfs_period_us", "100000\n");
    EXPECT(tree.limit() == 6);
    // Of a group that lies elsewhere, what is mounted is all that one sees.
    tree.write("/proc/self/cgroup", "4:cpu,cpuacct:/../other\n");
    EXPECT(tree.limit() == 6);
}

// Both versions at once: the lower limit holds.
void limits_of_both_versions() {
    Tree tree;
    tree.write("/proc/self/mountinfo",
               std::string(unified_mount) + "41 1 0:32 / /old/cpu rw - cgroup cgroup rw,cpu\n");
    tree.write("/proc/self/cgroup", "4:cpu:/a\n0::/a\n");
    tree.write("/sys/fs/cgroup/a/cpu.max", "500000 100000\n");
    tree.write("/old/cpu/a/cpu.cfs_quota_us", "200000\n");
    tree.write("/old/cpu/a/cpu.cfs_period_us", "100000\n");
    EXPECT(tree.limit() == 2);
}
#else
void a_fork_within_a_call() {}
void a_fork_within_a_call_on_one_thread() {}
void affinity_of_any_size() {}
void limits_of_nested_groups() {}
void limits_of_version_1() {}
void limits_of_both_versions() {}
#endif

void short_work_stays_on_one_thread() {
    EXPECT(vbfast::runtime::threads_for(1000, 4) == 1);
    EXPECT(vbfast::runtime::threads_for(1000, 0) == 1);
    EXPECT(vbfast::runtime::threads_for(1 << 20, 4) == 2);
    const std::int64_t long_work = std::int64_t{1} << 30;
    EXPECT(vbfast::runtime::threads_for(long_work, 4) == 4);
    EXPECT(vbfast::runtime::threads_for(long_work, 0) == vbfast::runtime::get_num_threads());
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
    Counts counts{std::vector<std::atomic<int>>(500), 60};
    parallel_for(500, 60, count, &counts, nullptr);
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
    for (int thrower : {0, 1, 2}) what_a_task_throws_reaches_the_caller(thrower);
    what_a_task_throws_on_one_thread_reaches_the_caller();
    no_more_threads_than_processors_or_64();
    a_fork_within_a_call();
    a_fork_within_a_call_on_one_thread();
    affinity_of_any_size();
    limits_of_nested_groups();
    limits_of_version_1();
    limits_of_both_versions();
    EXPECT(vbfast::runtime::available_threads() >= 1);
    vbfast::runtime::set_num_threads(3);
    EXPECT(vbfast::runtime::get_num_threads() == 3);
    vbfast::runtime::set_num_threads(0);
    EXPECT(vbfast::runtime::get_num_threads() >= 1);
    return 0;
}
