// Calls without the interpreter's lock.
#pragma once

#include <pybind11/pybind11.h>

#if defined(__GLIBCXX__)
#include <cxxabi.h>
#include <unistd.h>
#endif

namespace capsroute::bindings {

// Takes the lock again. An interpreter that has ended meanwhile, as it may while a daemon thread calls, ends the thread
// that comes back, before Python 3.14 by unwinding its stack; that ends the whole process at the first function on the
// way that throws nothing. So the thread stays here, which is what Python 3.14 does itself.
inline void lock_again(PyThreadState* thread) {
#if defined(__GLIBCXX__)
    try {
        PyEval_RestoreThread(thread);
    } catch (const abi::__forced_unwind&) {
        for (;;) pause();
    }
#else
    PyEval_RestoreThread(thread);
#endif
}

// The result of a call that runs without the lock.
template <class Call>
auto unlocked(Call call) {
    PyThreadState* const thread = PyEval_SaveThread();
    try {
        auto result = call();
        lock_again(thread);
        return result;
    } catch (...) {
        lock_again(thread);
        throw;
    }
}

}  // namespace capsroute::bindings
