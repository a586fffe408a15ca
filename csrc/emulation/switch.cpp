#include "switch.h"

#include <stdint.h>

// In assembler on the processors that are tested. A return by `ret` would be predicted wrongly each time, since the
// processor keeps a stack of calls of its own. The jump through a register is predicted like any other.

#if defined(__x86_64__) && defined(__ELF__) && !defined(CAPSROUTE_PORTABLE_SWITCH)

asm(R"(
    .text
    .p2align 4
    .globl capsroute_switch_stack
    .hidden capsroute_switch_stack
    .type capsroute_switch_stack, @function
capsroute_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    popq %rcx
    jmpq *%rcx
    .size capsroute_switch_stack, .-capsroute_switch_stack
)");

namespace {
constexpr int kSavedWords = 7, kEntryWord = 6;
// A function starts 8 bytes below a multiple of 16, as behind a call; the 0 there ends backtraces.
constexpr int kReservedWords = 1;
}  // namespace

#elif defined(__aarch64__) && defined(__ELF__) && !defined(CAPSROUTE_PORTABLE_SWITCH)

asm(R"(
    .text
    .p2align 4
    .globl capsroute_switch_stack
    .hidden capsroute_switch_stack
    .type capsroute_switch_stack, %function
capsroute_switch_stack:
    stp x19, x20, [sp, #-160]!
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    ldp x19, x20, [sp], #160
    br x30
    .size capsroute_switch_stack, .-capsroute_switch_stack
)");

namespace {
constexpr int kSavedWords = 20, kEntryWord = 11, kReservedWords = 0;
}  // namespace

#else
#define CAPSROUTE_UCONTEXT
#endif

#if defined(CAPSROUTE_UCONTEXT)

// Everywhere else by the system's own means, which take a system call and more than ten times as long.
#include <ucontext.h>

namespace capsroute::emulation {

void switch_stack(void** from, void* to) {
    ucontext_t here;
    *from = &here;
    swapcontext(&here, static_cast<ucontext_t*>(to));
}

void* fresh_stack(char* stack, size_t bytes, void (*entry)()) {
    ucontext_t* const context = reinterpret_cast<ucontext_t*>(stack);  // at the far end of the stack
    const size_t reserved = (sizeof(ucontext_t) + 63) / 64 * 64;
    getcontext(context);
    context->uc_stack.ss_sp = stack + reserved;
    context->uc_stack.ss_size = bytes - reserved;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
    return context;
}

}  // namespace capsroute::emulation

#else

extern "C" void capsroute_switch_stack(void** from, void* to);

namespace capsroute::emulation {

void switch_stack(void** from, void* to) {
    capsroute_switch_stack(from, to);
}

void* fresh_stack(char* stack, size_t bytes, void (*entry)()) {
    uintptr_t* word = reinterpret_cast<uintptr_t*>(reinterpret_cast<uintptr_t>(stack + bytes) & ~uintptr_t(15));
    for (int n = 0; n < kReservedWords; ++n) *--word = 0;
    word -= kSavedWords;
    for (int n = 0; n < kSavedWords; ++n) word[n] = 0;
    word[kEntryWord] = reinterpret_cast<uintptr_t>(entry);
    return word;
}

}  // namespace capsroute::emulation

#endif
