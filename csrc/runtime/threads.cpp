#include "runtime/threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

#include "runtime/thread_count.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace vbfast::runtime {

namespace {

// Set while a thread is inside a task: calls from there are serial.
thread_local bool inside_region = false;

class Inside {
  public:
    Inside() : before_(inside_region) { inside_region = true; }
    ~Inside() { inside_region = before_; }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

  private:
    const bool before_;
};

// How often this process has come out of a fork as the child.
std::atomic<int> forks{0};

}  // namespace

class Region {
  public:
    Region(std::int64_t n_tasks, TaskFunction function, void* context, const Interrupt* interrupt)
        : n_tasks_(n_tasks), function_(function), context_(context), interrupt_(interrupt) {
        if (interrupt_ != nullptr) polled_ = std::chrono::steady_clock::now();
    }

    // Other threads work on it too, from now on.
    void share() { shared_ = true; }

    // Whether this is the child of a fork within the region, which lacks those threads.
    bool is_torn() const { return shared_ && forks.load() != forks_; }

    // What a task throws ends the region.
    void work(int worker) noexcept {
        const Inside inside;
        try {
            while (!stop_requested(worker)) {
                const std::int64_t task = next_.fetch_add(1, std::memory_order_relaxed);
                if (task >= n_tasks_) return;
                function_(context_, task, worker, *this);
            }
        } catch (...) {
            if (!failed_.test_and_set()) failure_ = std::current_exception();
            stopped_.store(true, std::memory_order_relaxed);
        }
    }

    bool stop_requested(int worker) {
        if (worker == 0 && interrupt_ != nullptr) poll();
        return stopped_.load(std::memory_order_relaxed);
    }

    // Asks the interrupt, at most every 50 ms.
    void poll() {
        const auto now = std::chrono::steady_clock::now();
        if (now - polled_ < std::chrono::milliseconds(50)) return;
        polled_ = now;
        interrupted_ = interrupted_ || interrupt_->requested(interrupt_->context);
        if (interrupted_ || is_torn()) stopped_.store(true, std::memory_order_relaxed);
    }

    bool has_interrupt() const { return interrupt_ != nullptr; }

    // Throws what ended the region early, once all threads have left it.
    void finish() {
        if (interrupted_) throw Interrupted();
        if (is_torn())
            throw std::runtime_error(
                "the process was forked during a call on several threads, which the child cannot "
                "finish: it has one of them only");
        if (failure_) std::rethrow_exception(failure_);
    }

  private:
    const std::int64_t n_tasks_;
    const TaskFunction function_;
    void* const context_;
    const Interrupt* const interrupt_;
    const int forks_ = forks.load();
    bool shared_ = false;
    bool interrupted_ = false;
    std::atomic<std::int64_t> next_{0};
    std::atomic<bool> stopped_{false};
    std::atomic_flag failed_ = ATOMIC_FLAG_INIT;
    std::exception_ptr failure_;
    std::chrono::steady_clock::time_point polled_;
};

const char* Interrupted::what() const noexcept {
    return "interrupted";
}

bool stop_requested(Region& region, int worker) {
    return region.stop_requested(worker);
}

namespace {

class Pool {
  public:
    // Runs the region on the caller and up to n_workers others.
    void run(Region& region, int n_workers) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            n_workers = hire(n_workers);
            if (n_workers > 0) region.share();
            region_ = &region;
            wanted_ = n_workers;
            ++generation_;
        }
        start_.notify_all();
        region.work(0);
        if (region.is_torn()) return;  // with a mutex that may be locked for ever
        std::unique_lock<std::mutex> lock(mutex_);
        region_ = nullptr;  // no task is left for a worker that has not come yet
        while (running_ > 0) {
            done_.wait_for(lock, std::chrono::milliseconds(50));
            if (running_ > 0 && region.has_interrupt()) {
                lock.unlock();  // the interrupt may run Python code
                region.poll();
                if (region.is_torn()) return;
                lock.lock();
            }
        }
    }

  private:
    // Starts workers until there are n, or as many as the system allows, and returns their number.
    int hire(int n) {
        while (static_cast<int>(workers_.size()) < n) {
            const int number = static_cast<int>(workers_.size()) + 1;
            try {
                workers_.emplace_back([this, number] { serve(number); });
            } catch (const std::exception&) {  // a limit on threads or memory
                return number - 1;
            }
        }
        return n;
    }

    void serve(int number) {
        std::uint64_t seen = 0;
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            start_.wait(lock, [&] {
                return region_ != nullptr && generation_ != seen && number <= wanted_;
            });
            seen = generation_;
            ++running_;
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
    int running_ = 0;  // workers that are in the region
    std::uint64_t generation_ = 0;
};

// The one pool, whose workers wait for its next region until the process ends, and whether a thread
// is using it. After a fork the child has neither the workers nor a mutex in a known state: it
// forgets the pool (which is leaked) without touching either.
std::atomic<Pool*> pool{nullptr};
std::atomic<bool> busy{false};

#if !defined(_WIN32)
void forget_pool_after_fork() {
    pool.store(nullptr);
    busy.store(false);
    ++forks;
    inside_region = false;
}
#endif

// The use of the pool by one thread, if it is free.
class Claim {
  public:
    Claim() {
        bool free = false;
        held_ = busy.compare_exchange_strong(free, true);
    }
    ~Claim() {
        if (held_ && forks.load() == forks_) busy.store(false);  // a child's pool is another one
    }
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;
    explicit operator bool() const { return held_; }

  private:
    const int forks_ = forks.load();
    bool held_;
};

// For the thread that holds a claim.
Pool& the_pool() {
    Pool* current = pool.load();
    if (current == nullptr) {
#if !defined(_WIN32)
        static bool registered = false;
        if (!registered && pthread_atfork(nullptr, nullptr, forget_pool_after_fork) != 0)
            throw std::bad_alloc();
        registered = true;
#endif
        current = new Pool;
        pool.store(current);
    }
    return *current;
}

}  // namespace

void parallel_for(std::int64_t n_tasks, int num_threads, TaskFunction function, void* context,
                  const Interrupt* interrupt) {
    Region region(n_tasks, function, context, interrupt);
    std::int64_t threads = num_threads > 0 ? num_threads : get_num_threads();
    threads = std::min({threads, n_tasks, static_cast<std::int64_t>(most_threads())});
    if (threads > 1 && !inside_region) {
        if (const Claim claim; claim) {
            the_pool().run(region, static_cast<int>(threads) - 1);
            region.finish();
            return;
        }
    }
    region.work(0);
    region.finish();
}

}  // namespace vbfast::runtime
