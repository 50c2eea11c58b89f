// The pool of threads. Fork-safe, serial inside another parallel region, interruptible.
//
// A call hands out task numbers in order to the calling thread and to waiting workers. Nothing may
// depend on which worker ran a task, only scratch memory may: that is what makes results the same
// for every number of threads.
#pragma once

#include <cstdint>
#include <exception>
#include <type_traits>

namespace vbfast::runtime {

// Asked by the calling thread, at most every 50 ms, whether to give up (Python: a pending signal).
struct Interrupt {
    bool (*requested)(void* context);
    void* context;
};

class Region;

using TaskFunction = void (*)(void* context, std::int64_t task, int worker, Region& region);

// Thrown by a call that its interrupt has ended.
class Interrupted : public std::exception {
  public:
    const char* what() const noexcept override;
};

// Runs tasks 0 to n_tasks - 1 on up to num_threads threads (0: the default). Workers are numbered
// from zero, the calling thread being worker 0. A call from within a task, or while another thread
// has the pool, runs serially on the caller.
//
// What a task throws, on whatever thread, is thrown to the caller once all threads have left the
// call; no task is begun after it. Throws Interrupted where the interrupt asked to give up, and
// std::runtime_error in the child of a fork within a call on several threads (a signal handler's).
void parallel_for(std::int64_t n_tasks, int num_threads, TaskFunction function, void* context,
                  const Interrupt* interrupt);

// Calls a lambda as a task of the pool.
template <class F>
void parallel(std::int64_t n_tasks, int num_threads, const Interrupt* interrupt, F&& f) {
    parallel_for(
        n_tasks, num_threads,
        [](void* context, std::int64_t task, int worker, Region& region) {
            (*static_cast<std::remove_reference_t<F>*>(context))(task, worker, region);
        },
        const_cast<void*>(static_cast<const void*>(&f)), interrupt);
}

// True once the region is to end early: long tasks ask between tiles, and return or throw
// Interrupted, which is the same to the caller.
bool stop_requested(Region& region, int worker);

}  // namespace vbfast::runtime
