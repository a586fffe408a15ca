// Launches that hardware would refuse, each beside one that just fits.
#include "tests/emulation/programs.h"

namespace capsroute::tests {
namespace {

using namespace cuda;

struct Nothing {};

CAPSROUTE_KERNEL(1024, 1) do_nothing(CAPSROUTE_PARAMETER Nothing) {}

constexpr int kKiB = 1024;

struct Case {
    int architecture;
    Bounds bounds;
    Shape fits, fits_not;
    const char* text;
};

const Case kCases[] = {
    {90, {}, {1, 64, 0}, {0, 64, 0}, "a grid of 0 blocks"},
    {90, {2048, 1}, {1, 1024, 0}, {1, 1056, 0}, "1056 threads in a block, possible are 1 to 1024"},
    {90, {256, 1}, {1, 256, 0}, {1, 288, 0}, "288 threads in a block, it was compiled for at most 256"},
    {90, {}, {1, 32, 0}, {1, 33, 0}, "33 threads are no whole warps"},
    {75, {}, {1, 32, 64 * kKiB}, {1, 32, 64 * kKiB + 4}, "sm_75 has at most 65536"},
    {80, {}, {1, 32, 163 * kKiB}, {1, 32, 163 * kKiB + 4}, "sm_80 has at most 166912"},
    {86, {}, {1, 32, 99 * kKiB}, {1, 32, 99 * kKiB + 4}, "sm_86 has at most 101376"},
    {89, {}, {1, 32, 99 * kKiB}, {1, 32, 99 * kKiB + 4}, "sm_89 has at most 101376"},
    {90, {}, {1, 32, 227 * kKiB}, {1, 32, 227 * kKiB + 4}, "sm_90 has at most 232448"},
    {100, {}, {1, 32, 227 * kKiB}, {1, 32, 227 * kKiB + 4}, "sm_100 has at most 232448"},
    {120, {}, {1, 32, 99 * kKiB}, {1, 32, 99 * kKiB + 4}, "sm_120 has at most 101376"},
    {89, {}, {2, 32, 0, false, 1}, {2, 32, 0, false, 2}, "clusters of 2 blocks, sm_89 has at most 1"},
    {90, {}, {16, 32, 0, false, 8}, {16, 32, 0, false, 16}, "clusters of 16 blocks, sm_90 has at most 8"},
    {90, {}, {8, 32, 0, false, 4}, {6, 32, 0, false, 4}, "6 blocks are no whole clusters of 4"},
    {90, {}, {2, 32, 0, true, 1}, {2, 32, 0, true, 2}, "a cooperative launch of clusters"},
    // Cooperative grids on 3 multiprocessors: by registers, shared memory, threads and blocks.
    {90, {256, 1}, {3, 256, 0, true}, {4, 256, 0, true}, "grid of 4 blocks, but 3 multiprocessors hold 1 each"},
    {90, {256, 2}, {6, 256, 0, true}, {7, 256, 0, true}, "grid of 7 blocks, but 3 multiprocessors hold 2 each"},
    {90, {64, 4}, {6, 64, 113 * kKiB, true}, {6, 64, 114 * kKiB, true}, "3 multiprocessors hold 1 each"},
    {75, {512, 4}, {6, 512, 0, true}, {7, 512, 0, true}, "3 multiprocessors hold 2 each"},
    {86, {512, 4}, {9, 512, 0, true}, {10, 512, 0, true}, "3 multiprocessors hold 3 each"},
    {86, {32, 32}, {48, 32, 0, true}, {49, 32, 0, true}, "3 multiprocessors hold 16 each"},
};

void check_announcement(Failures& failures) {
    const Kernel kernel = kernel_of(do_nothing, "do_nothing", 64, 1);
    static void (*const another)(Nothing) = +[](Nothing) {};
    const Kernel unknown = kernel_of(another, "unknown", 64, 1);
    Device device;
    Nothing nothing;
    expect("device 0", {device_of(0, device), ""}, Status::ok, "", failures);
    expect("launch before resident_blocks",
           {cuda::launch(device, unknown, {1, 64, 4}, nullptr, &nothing, sizeof nothing), error_detail()},
           Status::launch_failed, "resident_blocks was not called with as much shared memory", failures);
    int blocks = -1;
    if (resident_blocks(device, kernel, {1, 64, 228 * kKiB}, blocks) != Status::ok || blocks != 0)
        failures.add("a block with too much shared memory is said to fit");
    if (resident_blocks(device, kernel, {16, 64, 0, false, 16}, blocks) != Status::ok || blocks != 0)
        failures.add("a cluster of 16 is said to fit");
    if (resident_blocks(device, kernel, {16, 64, 0}, blocks) != Status::ok || blocks != 4)
        failures.add("the registers of a multiprocessor are not those of 4 blocks of 64 threads");
}

void check_devices(Failures& failures) {
    Device device;
    for (int index : {-1, 1}) {
        expect("another device", {device_of(index, device), error_detail()}, Status::no_device, "index 0", failures);
        expect("a guard of it", {DeviceGuard(index).status(), error_detail()}, Status::no_device, "index 0", failures);
    }
    expect("architecture 70", {emulation::configure({.architecture = 70}), error_detail()}, Status::bad_option,
           "architecture must be 75, 80, 86, 89, 90, 100 or 120", failures);
    expect("17 multiprocessors", {emulation::configure({.multiprocessors = 17}), error_detail()}, Status::bad_option,
           "multiprocessors must be from 1 to 16", failures);
    expect("order 3", {emulation::configure({.order = Order(3)}), error_detail()}, Status::bad_option,
           "order must be forward, reverse or shuffled", failures);
    emulation::configure({.architecture = 120, .multiprocessors = 4});
    if (device_of(0, device) != Status::ok || device.architecture != 120 || device.multiprocessors != 4 ||
        device.shared_bytes != 99 * kKiB || !device.cooperative || device.largest_cluster != 8)
        failures.add("device_of does not say what was configured");
}

}  // namespace

void check_limits(Failures& failures) {
    for (const Case& each : kCases) {
        emulation::configure({.architecture = each.architecture});
        const auto run = [&](const Shape& shape) {
            return launch(do_nothing, "do_nothing", shape, Nothing{}, each.bounds);
        };
        expect(std::string("less than ") + each.text, run(each.fits), Status::ok, "", failures);
        expect("a launch that does not fit", run(each.fits_not), Status::launch_failed, each.text, failures);
    }
    check_devices(failures);
    emulation::configure({});
    check_announcement(failures);
}

}  // namespace capsroute::tests
