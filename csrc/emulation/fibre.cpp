#include "fibre.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

#include "switch.h"

#if defined(__SANITIZE_ADDRESS__)
#define CAPSROUTE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CAPSROUTE_ASAN 1
#endif
#endif
#if defined(CAPSROUTE_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace capsroute::emulation {
namespace {

#if defined(CAPSROUTE_ASAN)
constexpr size_t kStackBytes = 256 << 10;  // red zones make frames several times larger
#else
constexpr size_t kStackBytes = 64 << 10;
#endif

// All threads of a warp stand at the same place of the kernel, so equal places of their stacks are in use. Stacks that
// begin at equal places of a page would compete for the same few sets of the cache.
constexpr size_t kStaggerBytes = 320, kStaggers = 51;

// Behind each stack's lowest address lies a page that must not be touched. Stacks are never given back: they wait in
// their fibres for the next launch.
char* new_stack() {
    const size_t page = size_t(sysconf(_SC_PAGESIZE));
    void* memory =
        mmap(nullptr, page + kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    if (mprotect(memory, page, PROT_NONE) != 0) {
        munmap(memory, page + kStackBytes);
        throw std::bad_alloc();
    }
    return static_cast<char*>(memory) + page;
}

void give_stack(Fibre& fibre) {
    static size_t stacks = 0;
    fibre.stack = new_stack();
    fibre.stack_bytes = kStackBytes - stacks++ % kStaggers * kStaggerBytes;
}

#if defined(CAPSROUTE_ASAN)
Fibre* previous = nullptr;
#endif

}  // namespace

void prepare_fibre(Fibre& fibre, void (*entry)()) {
    if (!fibre.stack) give_stack(fibre);
#if defined(CAPSROUTE_ASAN)
    __asan_unpoison_memory_region(fibre.stack, fibre.stack_bytes);  // an abandoned function left its red zones
    fibre.sanitizer_frames = nullptr;
#endif
    fibre.stack_pointer = fresh_stack(static_cast<char*>(const_cast<void*>(fibre.stack)), fibre.stack_bytes, entry);
}

void fibre_entered() {
#if defined(CAPSROUTE_ASAN)
    // The bounds of the stack that was left are news only when that was the host's.
    __sanitizer_finish_switch_fiber(nullptr, &previous->stack, &previous->stack_bytes);
#endif
}

void switch_fibre(Fibre& from, Fibre& to, [[maybe_unused]] bool ends) {
#if defined(CAPSROUTE_ASAN)
    previous = &from;
    __sanitizer_start_switch_fiber(ends ? nullptr : &from.sanitizer_frames, to.stack, to.stack_bytes);
#endif
    switch_stack(&from.stack_pointer, to.stack_pointer);
#if defined(CAPSROUTE_ASAN)
    __sanitizer_finish_switch_fiber(from.sanitizer_frames, &previous->stack, &previous->stack_bytes);
#endif
}

}  // namespace capsroute::emulation
