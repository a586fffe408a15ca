// Two things that OpenMP does not survive. libgomp ends the process where it cannot start a thread: so they are started
// once before it, to see. And in a forked child it waits for ever for the threads of the parent: its books say that the
// thread that forked has a team. Other threads of the child have none yet, and may get one.
#include "threads.h"

#if defined(_OPENMP)

#include <pthread.h>

namespace capsroute::cpu {
namespace {

thread_local bool forked = false;
[[maybe_unused]] const int watched = pthread_atfork(nullptr, nullptr, [] { forked = true; });

// Starts a thread that starts the next one, and waits for it, so that all live at once. What is left when one cannot be
// started stays in `left`.
void* start_rest(void* counter) {
    int& left = *static_cast<int*>(counter);
    if (left == 0) return nullptr;
    --left;
    pthread_t next;
    if (pthread_create(&next, nullptr, start_rest, &left) == 0) {
        pthread_join(next, nullptr);
    } else {
        ++left;
    }
    return nullptr;
}

}  // namespace

int startable_threads(int wanted) {
    if (forked) return 1;
    thread_local int team = 1;  // of the last call of this thread, which libgomp keeps, but lets go who is too many
    int left = wanted > team ? wanted - 1 : 0;
    start_rest(&left);
    return team = wanted - left;
}

}  // namespace capsroute::cpu

#endif
