// The switch from one stack to another.
#pragma once

#include <stddef.h>

namespace capsroute::emulation {

// Saves the registers that a function must keep on the present stack, and where that is in `from`; then goes on where
// `to` was left. Rounding modes are not switched: everything runs in one thread of the host, whose modes hold for all.
void switch_stack(void** from, void* to);

// What switch_stack takes to run `entry` on a fresh stack. `entry` must not return.
void* fresh_stack(char* stack, size_t bytes, void (*entry)());

}  // namespace capsroute::emulation
