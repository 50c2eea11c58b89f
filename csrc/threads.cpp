#include "threads.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>

#include <cmath>
#include <fstream>
#elif !defined(_WIN32)
#include <pthread.h>
#endif

namespace vbfast {

class Region {
  public:
    Region(std::int64_t n_tasks, TaskFunction function, void* context, const Interrupt* interrupt)
        : n_tasks_(n_tasks), function_(function), context_(context), interrupt_(interrupt) {}

    void work(int worker) {
        while (!stop_requested(worker)) {
            const std::int64_t task = next_.fetch_add(1, std::memory_order_relaxed);
            if (task >= n_tasks_) return;
            function_(context_, task, worker, *this);
        }
    }

    bool stop_requested(int worker) {
        if (worker == 0 && interrupt_ != nullptr) poll();
        return stopped_.load(std::memory_order_relaxed);
    }

    bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

    // Waits, still looking for interrupts, until `running` workers have left.
    void poll() {
        const auto now = std::chrono::steady_clock::now();
        if (now - polled_ < std::chrono::milliseconds(50)) return;
        polled_ = now;
        if (!stopped() && interrupt_->requested(interrupt_->context))
            stopped_.store(true, std::memory_order_relaxed);
    }

    bool has_interrupt() const { return interrupt_ != nullptr; }

  private:
    const std::int64_t n_tasks_;
    const TaskFunction function_;
    void* const context_;
    const Interrupt* const interrupt_;
    std::atomic<std::int64_t> next_{0};
    std::atomic<bool> stopped_{false};
    std::chrono::steady_clock::time_point polled_ = std::chrono::steady_clock::now();
};

bool stop_requested(Region& region, int worker) {
    return region.stop_requested(worker);
}

namespace {

// Set while a thread is inside a task: calls from there are serial.
thread_local bool inside_region = false;

class Pool {
  public:
    // Runs the region on the caller and up to n_workers others.
    void run(Region& region, int n_workers) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            n_workers = hire(n_workers);
            region_ = &region;
            wanted_ = n_workers;
            running_ = n_workers;
            ++generation_;
        }
        start_.notify_all();
        inside_region = true;
        region.work(0);
        inside_region = false;
        std::unique_lock<std::mutex> lock(mutex_);
        while (running_ > 0) {
            done_.wait_for(lock, std::chrono::milliseconds(50));
            if (running_ > 0 && region.has_interrupt()) {
                lock.unlock();  // the interrupt may run Python code
                region.poll();
                lock.lock();
            }
        }
        region_ = nullptr;
    }

    ~Pool() {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            closing_ = true;
        }
        start_.notify_all();
        for (std::thread& worker : workers_) worker.join();
    }

  private:
    // Starts workers until there are n, or as many as the system allows, and returns their number.
    int hire(int n) {
        while (static_cast<int>(workers_.size()) < n) {
            const int number = static_cast<int>(workers_.size()) + 1;
            try {
                workers_.emplace_back([this, number] { serve(number); });
            } catch (const std::system_error&) {  // a limit on threads or memory
                return number - 1;
            }
        }
        return n;
    }

    void serve(int number) {
        inside_region = true;
        std::uint64_t seen = 0;
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            start_.wait(lock,
                        [&] { return closing_ || (generation_ != seen && number <= wanted_); });
            if (closing_) return;
            seen = generation_;
            Region* region = region_;
            lock.unlock();
            region->work(number);
            lock.lock();
            if (--running_ == 0) done_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable start_;
    std::condition_variable done_;
    std::vector<std::thread> workers_;
    Region* region_ = nullptr;
    int wanted_ = 0;
    int running_ = 0;
    std::uint64_t generation_ = 0;
    bool closing_ = false;
};

// The one pool, and whether a thread is using it. After a fork the child has neither the workers
// nor a mutex in a known state: it forgets the pool (which is leaked) without touching either.
std::atomic<Pool*> pool{nullptr};
std::atomic<bool> busy{false};
std::atomic<int> chosen_threads{0};

void forget_pool_after_fork() {
    pool.store(nullptr);
    busy.store(false);
    inside_region = false;
}

Pool& the_pool() {
    Pool* current = pool.load();
    if (current == nullptr) {
#if !defined(_WIN32)
        static const int registered = pthread_atfork(nullptr, nullptr, forget_pool_after_fork);
        (void)registered;
#endif
        current = new Pool;
        pool.store(current);
    }
    return *current;
}

int positive_number(const char* text) {
    if (text == nullptr) return 0;
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    return end != text && value > 0 && value < 1 << 16 ? static_cast<int>(value) : 0;
}

#if defined(__linux__)
// Processors' worth of time that control groups allow, or 0 where they set no limit.
int control_group_limit() {
    std::string quota;
    double period = 0;
    std::ifstream unified("/sys/fs/cgroup/cpu.max");
    if (unified >> quota >> period && quota != "max" && period > 0)
        return static_cast<int>(std::ceil(std::strtod(quota.c_str(), nullptr) / period));
    double legacy_quota = 0;
    std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    std::ifstream period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (quota_file >> legacy_quota && period_file >> period && legacy_quota > 0 && period > 0)
        return static_cast<int>(std::ceil(legacy_quota / period));
    return 0;
}
#endif

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
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) n = CPU_COUNT(&set);
    const int limit = control_group_limit();
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

int threads_for(std::int64_t operations, int num_threads) {
    constexpr std::int64_t worth_waking = 1 << 16;
    if (operations < worth_waking) return 1;
    return num_threads > 0 ? num_threads : get_num_threads();
}

RunStatus parallel_for(std::int64_t n_tasks, int num_threads, TaskFunction function, void* context,
                       const Interrupt* interrupt) {
    Region region(n_tasks, function, context, interrupt);
    std::int64_t threads = num_threads > 0 ? num_threads : get_num_threads();
    if (threads > n_tasks) threads = n_tasks;
    bool free = false;
    if (threads > 1 && !inside_region && busy.compare_exchange_strong(free, true)) {
        the_pool().run(region, static_cast<int>(threads) - 1);
        busy.store(false);
    } else {
        const bool nested = inside_region;
        inside_region = true;
        region.work(0);
        inside_region = nested;
    }
    return region.stopped() ? RunStatus::interrupted : RunStatus::finished;
}

}  // namespace vbfast

extern "C" {
// For threadpoolctl, which finds them by name in the loaded library.
__attribute__((visibility("default"))) int vbfast_get_num_threads() {
    return vbfast::get_num_threads();
}
__attribute__((visibility("default"))) void vbfast_set_num_threads(int num_threads) {
    vbfast::set_num_threads(num_threads);
}
}
