// What fits on the emulated device.
#pragma once

#include "../cuda/host.h"
#include "config.h"

namespace capsroute::emulation {

// Of one architecture (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability").
struct Limits {
    int architecture;
    int shared_bytes;                 // dynamic shared memory of a block
    int shared_bytes_multiprocessor;  // of all blocks together
    int reserved_bytes;               // of it per block, for the system
    int threads_multiprocessor;
    int blocks_multiprocessor;
    int largest_cluster;
};

// Null for an architecture that is not emulated.
const Limits* limits_of(int architecture);

// How many blocks a multiprocessor holds at once, 0 when none fits. The kernel is taken to use all registers that its
// launch bounds leave it.
int resident_blocks(const Limits& limits, const cuda::Kernel& kernel, const cuda::Shape& shape);

// Why hardware would refuse this launch, in one line; null when it would not.
const char* refusal(const Settings& settings, const cuda::Kernel& kernel, const cuda::Shape& shape);

}  // namespace capsroute::emulation
