// The declarations of csrc/cuda/host.h for the emulated device, which is the only one and has index 0.
#include "../cuda/host.h"

#include <pthread.h>
#include <stdio.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <new>

#include "config.h"
#include "fault.h"
#include "limits.h"
#include "machine.h"

namespace capsroute::emulation {
namespace {

std::recursive_mutex one_at_a_time;  // guards the machine and what follows
// Never destroyed: a thread may still launch when the process ends.
std::map<const void*, int>& allowed_shared_bytes = *new std::map<const void*, int>;
thread_local char detail[512];

// A fork waits for the launch of another thread. The child has none, and its lock belongs to a thread by its number in
// the parent.
[[maybe_unused]] const int watched = pthread_atfork([] { one_at_a_time.lock(); }, [] { one_at_a_time.unlock(); },
                                                    [] { new (&one_at_a_time) std::recursive_mutex; });

Status refuse(Status status, const char* text) {
    snprintf(detail, sizeof detail, "%s", text);
    return status;
}

}  // namespace

Status configure(const Settings& settings) {
    if (!limits_of(settings.architecture))
        return refuse(Status::bad_option, "architecture must be 75, 80, 86, 89, 90, 100 or 120");
    if (settings.multiprocessors < 1 || settings.multiprocessors > 16)
        return refuse(Status::bad_option, "multiprocessors must be from 1 to 16");
    if (settings.order < Order::forward || settings.order > Order::shuffled)
        return refuse(Status::bad_option, "order must be forward, reverse or shuffled");
    const std::lock_guard lock(one_at_a_time);
    machine.settings = settings;
    return Status::ok;
}

Settings settings() {
    const std::lock_guard lock(one_at_a_time);
    return machine.settings;
}

Counters counters() {
    const std::lock_guard lock(one_at_a_time);
    return machine.counters;
}

}  // namespace capsroute::emulation

namespace capsroute::cuda {

using namespace emulation;

Status device_of(int index, Device& device) {
    if (index != 0) return refuse(Status::no_device, "the emulated device has index 0");
    const Settings now = settings();
    const Limits& limits = *limits_of(now.architecture);
    device = {0, now.architecture, now.multiprocessors, limits.shared_bytes, true, limits.largest_cluster};
    return Status::ok;
}

DeviceGuard::DeviceGuard(int index)
    : status_(index == 0 ? Status::ok : refuse(Status::no_device, "the emulated device has index 0")) {}

DeviceGuard::~DeviceGuard() = default;

Status resident_blocks(const Device& device, const Kernel& kernel, const Shape& shape, int& blocks) {
    const std::lock_guard lock(one_at_a_time);
    blocks = emulation::resident_blocks(*limits_of(device.architecture), kernel, shape);
    int& allowed = allowed_shared_bytes[kernel.function];
    if (blocks > 0) allowed = std::max(allowed, shape.shared_bytes);
    return Status::ok;
}

Status launch(const Device& device, const Kernel& kernel, const Shape& shape, void*, const void* parameters, size_t) {
    const std::lock_guard lock(one_at_a_time);
    if (device.architecture != machine.settings.architecture)
        return refuse(Status::launch_failed, "the emulated device is not any more what device_of said");
    if (const char* why = refusal(machine.settings, kernel, shape)) return refuse(Status::launch_failed, why);
    if (shape.shared_bytes > allowed_shared_bytes[kernel.function])
        return refuse(Status::launch_failed, "resident_blocks was not called with as much shared memory");
    try {
        if (run({kernel.name, kernel.call, kernel.function, parameters, shape.blocks, shape.threads, shape.shared_bytes,
                 shape.cooperative, shape.cluster}))
            return Status::ok;
    } catch (const std::bad_alloc&) {
        return refuse(Status::launch_failed, "there is not enough memory for the threads of the emulated device");
    }
    return refuse(Status::fault, fault_text());
}

const char* error_detail() {
    return detail;
}

}  // namespace capsroute::cuda
