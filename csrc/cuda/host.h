// What the launchers know of a device, and how they launch. host.cu speaks to the CUDA runtime; csrc/emulation has
// another implementation of the same declarations.
#pragma once

#include "../capsroute.h"

namespace capsroute::cuda {

struct Device {
    int index;
    int architecture;  // 90 for compute capability 9.0
    int multiprocessors;
    int shared_bytes;     // largest dynamic shared memory of a block
    bool cooperative;     // whether all blocks of a grid can meet
    int largest_cluster;  // blocks; 1 where there are no clusters
};

// Fills `device`; a negative index is an error. Asks the driver once per device.
Status device_of(int index, Device& device);

// Makes a device current while it lives. The status tells whether that worked.
class DeviceGuard {
   public:
    explicit DeviceGuard(int index);
    ~DeviceGuard();
    DeviceGuard(const DeviceGuard&) = delete;
    DeviceGuard& operator=(const DeviceGuard&) = delete;
    Status status() const { return status_; }

   private:
    int before_ = -1;
    Status status_;
};

// A kernel of one parameter struct passed by value, with the bounds it was compiled for.
struct Kernel {
    const void* function;
    void (*call)(const void* function, const void* parameters);  // only in the emulation: runs one thread
    const char* name;
    int threads;                    // at most so many in a block
    int blocks_per_multiprocessor;  // registers were limited so that so many blocks fit
};

template <class Parameters>
Kernel kernel_of(void (*function)(Parameters), const char* name, int threads, int blocks_per_multiprocessor) {
    Kernel kernel{reinterpret_cast<const void*>(function), nullptr, name, threads, blocks_per_multiprocessor};
#if defined(CAPSROUTE_EMULATION)
    kernel.call = [](const void* address, const void* parameters) {
        reinterpret_cast<void (*)(Parameters)>(const_cast<void*>(address))(*static_cast<const Parameters*>(parameters));
    };
#endif
    return kernel;
}

struct Shape {
    int blocks;
    int threads;
    int shared_bytes;
    bool cooperative = false;
    int cluster = 1;  // blocks in a cluster
};

// How many blocks of this shape a multiprocessor holds at once; 0 when none fits. Also allows the kernel its shared
// memory, once per device.
Status resident_blocks(const Device& device, const Kernel& kernel, const Shape& shape, int& blocks);

// Puts kernel(parameters) into the stream. The device is current, and resident_blocks was called with this shape.
Status launch(const Device& device, const Kernel& kernel, const Shape& shape, void* stream, const void* parameters,
              size_t parameter_bytes);

// The last refusal of the CUDA runtime, or of the emulation, in this thread: one line.
const char* error_detail();

}  // namespace capsroute::cuda
