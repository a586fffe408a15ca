// How the threads of one call share its items and wait for each other.
//
// Not by OpenMP's loops and barriers. A call has many short phases, and libgomp sends waiting threads to sleep after a
// moment whenever it counts more threads than processors, those of other teams of the process among them; to wake one
// then takes longer than a phase.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace capsroute::cpu {

class Team {
   public:
    // For a team of `threads` threads; one is alone, whatever team of somebody else's it may belong to.
    explicit Team(int threads) : alone_(threads == 1), spins_(threads <= processors() ? kSpins : kShortSpins) {}

    // Calls work(item, thread) for each item and waits for all. To be called by every thread of the team. Which thread
    // takes an item has no influence on its result.
    template <class Work>
    void for_each(int64_t items, Work work) {
        const int thread = number();
        for (int64_t item = next_.fetch_add(1, std::memory_order_relaxed); item < items;
             item = next_.fetch_add(1, std::memory_order_relaxed)) {
            work(item, thread);
        }
        meet();
    }

    // Of the calling thread, from 0.
    int number() const {
#if defined(_OPENMP)
        return alone_ ? 0 : omp_get_thread_num();
#else
        return 0;
#endif
    }

    // The same, but each thread takes its own range of items, the same share of the whole in every phase: what it wrote
    // in one phase lies in its own cache in the next.
    template <class Work>
    void for_each_in_ranges(int64_t items, Work work) {
        const int64_t thread = number(), threads = size();
        const int64_t end = (thread + 1) * items / threads;
        for (int64_t item = thread * items / threads; item < end; ++item) work(item, int(thread));
        meet();
    }

   private:
    int size() const {
#if defined(_OPENMP)
        return alone_ ? 1 : omp_get_num_threads();
#else
        (void)alone_;
        return 1;
#endif
    }

    static void pause() {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    // The last to come opens the next phase, in which items are counted from 0 again.
    void meet() {
        const uint32_t phase = phase_.load(std::memory_order_relaxed);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size()) {
            next_.store(0, std::memory_order_relaxed);
            arrived_.store(0, std::memory_order_relaxed);
            phase_.store(phase + 1, std::memory_order_release);
            return;
        }
        for (int spin = 0; phase_.load(std::memory_order_acquire) == phase; ++spin) {
            if (spin < spins_) {
                pause();
            } else {
                std::this_thread::yield();
            }
        }
    }

    static int processors() {
#if defined(_OPENMP)
        return omp_get_num_procs();
#else
        return 1;
#endif
    }

    // Where every thread has a processor, they spin for about 10 ms, longer than other programs keep one: who yields
    // earlier gets it back late. Where not, the processor is left at once to those that are waited for.
    static constexpr int kSpins = 500000, kShortSpins = 100;
    const bool alone_;
    const int spins_;

    // Apart from each other, because all threads write the first two while others wait for the third.
    alignas(64) std::atomic<int64_t> next_{0};
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<uint32_t> phase_{0};
};

}  // namespace capsroute::cpu
