// Fibres: threads of execution that give way to each other by themselves. One fibre runs one thread of a kernel.
#pragma once

#include <stddef.h>

namespace capsroute::emulation {

struct Fibre {
    void* stack_pointer = nullptr;  // while it does not run
    // Lowest address and size, as AddressSanitizer wants to know them. Of the thread of the host they are unknown
    // until a fibre has run, and not needed before.
    const void* stack = nullptr;
    size_t stack_bytes = 0;
    void* sanitizer_frames = nullptr;
};

// Gives the fibre a stack, if it has none, and lets it begin in `entry`, which must not return. What it did before is
// abandoned: nothing on its stack is destroyed.
void prepare_fibre(Fibre& fibre, void (*entry)());

// To be called first in `entry`.
void fibre_entered();

// Goes on in `to`; returns when somebody switches to `from`. A fibre that ends is never switched to again before it is
// prepared.
void switch_fibre(Fibre& from, Fibre& to, bool ends = false);

}  // namespace capsroute::emulation
