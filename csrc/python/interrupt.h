// Native code without the GIL, and how Ctrl-C reaches it.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <thread>

#include "runtime/threads.h"

namespace vbfast::python {

// The GIL let go of for the life of this.
//
// A daemon thread that asks for it once the interpreter ends is ended by CPython before 3.14, with
// pthread_exit. That unwinds the stack, through destructors, where it ends the process, and from
// under the workers of the pool. Such a thread waits for the end of the process instead, as
// those of CPython 3.14 do.
class GilRelease {
  public:
    GilRelease() : state_(PyEval_SaveThread()) {}
    ~GilRelease() { take_back(); }
    GilRelease(const GilRelease&) = delete;
    GilRelease& operator=(const GilRelease&) = delete;

    // Runs Python's signal handlers; an interrupt, with the error set, if one raised.
    runtime::Interrupt interrupt() { return {signal_raised, this}; }

  private:
    void take_back() noexcept {
        try {
            PyEval_RestoreThread(state_);
        } catch (...) {
            for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
        }
    }

    static bool signal_raised(void* context) {
        GilRelease& self = *static_cast<GilRelease*>(context);
        self.take_back();
        const bool raised = PyErr_CheckSignals() != 0;
        self.state_ = PyEval_SaveThread();
        return raised;
    }

    PyThreadState* state_;
};

// What f(interrupt) returns, called without the GIL.
template <class F>
auto without_gil(F&& f) {
    try {
        GilRelease released;
        const runtime::Interrupt interrupt = released.interrupt();
        return f(&interrupt);
    } catch (const runtime::Interrupted&) {
        throw pybind11::error_already_set();
    }
}

}  // namespace vbfast::python
