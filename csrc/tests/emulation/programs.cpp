// Kernels that keep all rules: their results are right, and the same bits in every order of the threads.
#include "tests/emulation/programs.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace capsroute::tests {

const char* name_of(Order order) {
    switch (order) {
        case Order::forward: return "forward";
        case Order::reverse: return "reverse";
        case Order::shuffled: return "shuffled";
    }
    return "?";
}

void expect(const std::string& what, const Outcome& outcome, Status status, const std::string& text,
            Failures& failures) {
    if (outcome.status == status && outcome.detail.find(text) != std::string::npos) return;
    failures.add(what + ": expected '" + text + "', but the status is '" + status_text(outcome.status) + "', '" +
                 outcome.detail + "'");
}

namespace {

using namespace cuda;

struct Reduction {
    const float* in;  // [blocks, threads]
    float* partial;   // [blocks]
    float* out;       // [rounds]
    int shared_floats;
    int rounds;
};

// The sum of in over the block, for all its threads.
float sum_of_block(const Shared& memory, float value) {
    for (int mask = 16; mask; mask /= 2) value += shuffle_xor(value, mask);
    const int warp = thread_index() / 32, warps = thread_count() / 32;
    if (thread_index() % 32 == 0) memory.store(warp, value);
    block_sync();
    float sum = 0;
    for (int n = 0; n < warps; ++n) sum += memory.load(n);
    block_sync();
    return sum;
}

CAPSROUTE_KERNEL(256, 1) reduce_block(CAPSROUTE_PARAMETER Reduction p) {
    const Shared memory = shared_memory(p.shared_floats);
    const float sum = sum_of_block(memory, p.in[block_index() * thread_count() + thread_index()]);
    if (thread_index() == 0) p.partial[block_index()] = sum;
}

// Each round adds up what the round before left in all blocks.
CAPSROUTE_KERNEL(256, 1) reduce_grid(CAPSROUTE_PARAMETER Reduction p) {
    const Shared memory = shared_memory(p.shared_floats);
    float value = p.in[block_index() * thread_count() + thread_index()];
    for (int round = 0; round < p.rounds; ++round) {
        const float own = sum_of_block(memory, value);
        if (thread_index() == 0) p.partial[block_index()] = own;
        grid_sync();
        float sum = 0;
        for (int block = 0; block < block_count(); ++block) sum += p.partial[block];
        grid_sync();
        if (block_index() == 0 && thread_index() == 0) p.out[round] = sum;
        value = sum / float(thread_count()) + float(block_index());
    }
}

// The blocks of a cluster add up what stands in each other's memory; ranks follow each other in the grid.
template <int kCluster>
CAPSROUTE_KERNEL(256, 1)
reduce_cluster(CAPSROUTE_PARAMETER Reduction p) {
    const Shared memory = shared_memory(p.shared_floats);
    const float own = sum_of_block(memory.part(0, 8), p.in[block_index() * thread_count() + thread_index()]);
    const Shared mine = memory.part(8, 1);
    if (thread_index() == 0) mine.store(0, own);
    cluster_sync();
    float sum = 0;
    for (int rank = 0; rank < kCluster; ++rank) sum += mine.in_block(rank).load(0);
    cluster_sync();
    if (thread_index() == 0) p.partial[block_index()] = sum;
}

std::vector<float> inputs(int count) {
    std::vector<float> result(count);
    for (int n = 0; n < count; ++n) result[n] = float((n * 37 + 11) % 101 - 50);  // sums of them are exact
    return result;
}

std::vector<double> sums_of_blocks(const std::vector<float>& in, int blocks) {
    std::vector<double> result(blocks);
    for (size_t n = 0; n < in.size(); ++n) result[n * blocks / in.size()] += in[n];
    return result;
}

std::vector<double> cluster_sums(const std::vector<double>& blocks, int cluster) {
    std::vector<double> result(blocks.size());
    for (size_t n = 0; n < blocks.size(); ++n)
        for (size_t m = n / cluster * cluster; m < (n / cluster + 1) * cluster; ++m) result[n] += blocks[m];
    return result;
}

void expect_values(const std::string& what, const std::vector<float>& got, const std::vector<double>& expected,
                   Failures& failures) {
    for (size_t n = 0; n < expected.size(); ++n)
        if (!(got[n] == float(expected[n])))
            failures.add(what + ": value " + std::to_string(n) + " is " + std::to_string(got[n]) + ", not " +
                         std::to_string(expected[n]));
}

void check_reductions(const std::string& order, Failures& failures) {
    constexpr int kThreads = 256, kBlocks = 6, kRounds = 4;
    const std::vector<float> in = inputs(kBlocks * kThreads);
    const std::vector<double> sums = sums_of_blocks(in, kBlocks);
    std::vector<float> partial(kBlocks), out(kRounds);
    const Reduction p{in.data(), partial.data(), out.data(), 9, kRounds};
    const int bytes = 9 * 4;

    const auto run = [&](const char* name, void (*kernel)(Reduction), Shape shape, std::vector<double> expected) {
        const std::string what = std::string(name) + ", " + order;
        partial.assign(kBlocks, NAN);
        expect(what, launch(kernel, name, shape, p), Status::ok, "", failures);
        expect_values(what, partial, expected, failures);
    };
    run("reduce_block", reduce_block, {kBlocks, kThreads, bytes}, sums);
    run("reduce_cluster<2>", reduce_cluster<2>, {kBlocks, kThreads, bytes, false, 2}, cluster_sums(sums, 2));
    run("reduce_cluster<3>", reduce_cluster<3>, {kBlocks, kThreads, bytes, false, 3}, cluster_sums(sums, 3));
    run("reduce_cluster<1>", reduce_cluster<1>, {kBlocks, kThreads, bytes}, sums);

    constexpr int kLive = 3;  // one for each multiprocessor
    double sum = 0;
    std::vector<double> rounds;
    for (int block = 0; block < kLive; ++block) sum += sums[block];
    for (int round = 0; round < kRounds; ++round) {
        rounds.push_back(sum);
        sum = kLive * sum + kThreads * (kLive - 1) * kLive / 2;
    }
    expect("reduce_grid, " + order, launch(reduce_grid, "reduce_grid", {kLive, kThreads, bytes, true}, p), Status::ok,
           "", failures);
    expect_values("reduce_grid, " + order, out, rounds, failures);
}

struct Shuffled {
    float* floats;
    double* doubles;
    int* ints;
    uint32_t* bits;
    int* any;
};

CAPSROUTE_KERNEL(64, 1) shuffle_all(CAPSROUTE_PARAMETER Shuffled p) {
    const int thread = thread_index(), lane = thread % 32, warp = thread / 32;
    p.floats[thread] = shuffle(float(thread), lane + 5);  // beyond the last lane it goes on with the first
    p.doubles[thread] = shuffle_xor(1.0 / (1 + thread), 21);
    p.ints[thread] = shuffle(-thread, 7);
    p.bits[thread] = shuffle_xor(0x80000000u + uint32_t(thread), 1);
    p.any[thread] = any_in_warp(warp == 1 && lane == 19);
    warp_sync();
}

void check_shuffles(const std::string& order, Failures& failures) {
    constexpr int kThreads = 64;
    float floats[kThreads];
    double doubles[kThreads];
    int ints[kThreads], any[kThreads];
    uint32_t bits[kThreads];
    expect("shuffle_all, " + order,
           launch(shuffle_all, "shuffle_all", {1, kThreads, 0}, Shuffled{floats, doubles, ints, bits, any}, {64, 1}),
           Status::ok, "", failures);
    for (int thread = 0; thread < kThreads; ++thread) {
        const int lane = thread % 32, first = thread - lane;
        const bool right = floats[thread] == float(first + (lane + 5) % 32) &&
                           doubles[thread] == 1.0 / (1 + first + (lane ^ 21)) && ints[thread] == -(first + 7) &&
                           bits[thread] == 0x80000000u + uint32_t(thread ^ 1) && any[thread] == (first == 32);
        if (!right) failures.add("shuffle_all, " + order + ": wrong in thread " + std::to_string(thread));
    }
}

struct Copied {
    const float* in;  // [128]
    float* out;       // [256]
    int shared_floats;
};

// Twice as many floats as there are: the rest are zeros. Each thread reads what another one copied.
CAPSROUTE_KERNEL(64, 1) copy(CAPSROUTE_PARAMETER Copied p) {
    const Shared memory = shared_memory(p.shared_floats);
    const int at = thread_index() * 4, other = 252 - at;
    memory.copy4(at, at < 128 ? p.in + at : p.in, at < 128);
    wait_for_copies();
    block_sync();
    const float2 first = memory.load2(other), second = memory.load2(other + 2);
    block_sync();
    memory.store2(other, make_float2(second.y, second.x));
    memory.store2(other + 2, make_float2(first.y, first.x));
    warp_sync();
    const float4 turned = memory.load4((thread_index() ^ 1) * 4 ^ 252);  // of the other thread of a pair
    *reinterpret_cast<float4*>(p.out + ((at ^ 4) ^ 252)) = turned;
}

void check_copies(const std::string& order, Failures& failures) {
    alignas(16) float in[128], out[256];
    for (int n = 0; n < 128; ++n) in[n] = float(n + 1);
    expect("copy, " + order, launch(copy, "copy", {1, 64, 1024}, Copied{in, out, 256}, {64, 1}), Status::ok, "",
           failures);
    for (int n = 0; n < 256; ++n) {
        const int from = n / 4 * 4 + 3 - n % 4;
        if (out[n] != (from < 128 ? in[from] : 0.0f))
            failures.add("copy, " + order + ": wrong at " + std::to_string(n));
    }
}

struct Late {
    float* in;   // [4]
    float* out;  // [4]
};

CAPSROUTE_KERNEL(32, 1) change_source(CAPSROUTE_PARAMETER Late p) {
    const Shared memory = shared_memory(4);
    if (thread_index() == 0) memory.copy4(0, p.in, true);
    warp_sync();
    if (thread_index() == 1) p.in[2] = 20.0f;
    warp_sync();
    wait_for_copies();
    warp_sync();
    if (thread_index() < 4) p.out[thread_index()] = memory.load(thread_index());
}

// A copy takes effect as late as it may, so that who changes its source too early sees that.
void check_late_copy(Failures& failures) {
    alignas(16) float in[4] = {0, 1, 2, 3};
    float out[4];
    expect("change_source", launch(change_source, "change_source", {1, 32, 16}, Late{in, out}, {32, 1}), Status::ok, "",
           failures);
    if (out[1] != 1.0f || out[2] != 20.0f) failures.add("a copy reads its source before it is waited for");
}

// Who ran when: (block, thread) as block * 64 + thread.
struct Diary {
    int* next;
    int* entries;
};

CAPSROUTE_KERNEL(64, 1) write_diary(CAPSROUTE_PARAMETER Diary p) {
    p.entries[(*p.next)++] = block_index() * 64 + thread_index();
    block_sync();
    p.entries[(*p.next)++] = block_index() * 64 + thread_index();
}

std::vector<int> diary(const Settings& settings, Failures& failures) {
    emulation::configure(settings);
    int next = 0;
    std::vector<int> entries(2 * 3 * 64);
    expect("write_diary", launch(write_diary, "write_diary", {3, 64, 0}, Diary{&next, entries.data()}, {64, 1}),
           Status::ok, "", failures);
    return entries;
}

void check_orders(Failures& failures) {
    const std::vector<int> forward = diary({.order = Order::forward}, failures);
    std::vector<int> expected;
    for (int block = 0; block < 3; ++block)
        for (int n = 0; n < 128; ++n) expected.push_back(block * 64 + n % 64);
    if (forward != expected) failures.add("the forward order is not that of the numbers");
    std::reverse(expected.begin(), expected.end());
    if (diary({.order = Order::reverse}, failures) != expected) failures.add("the reverse order is not that");

    const std::vector<int> shuffled = diary({.order = Order::shuffled, .seed = 1}, failures);
    if (shuffled != diary({.order = Order::shuffled, .seed = 1}, failures)) failures.add("a seed has two orders");
    if (shuffled == diary({.order = Order::shuffled, .seed = 2}, failures)) failures.add("two seeds have one order");
    std::vector<int> sorted = shuffled;
    std::sort(sorted.begin(), sorted.end());
    std::sort(expected.begin(), expected.end());
    if (sorted != expected || shuffled == forward) failures.add("the shuffled order is not a shuffled one");
}

// Several threads of the host launch at the same time.
void check_threads_of_host(Failures& failures) {
    constexpr int kHosts = 4, kThreads = 256, kBlocks = 2;
    const std::vector<float> in = inputs(kBlocks * kThreads);
    std::vector<std::vector<float>> partial(kHosts, std::vector<float>(kBlocks));
    std::vector<Outcome> outcomes(kHosts);
    std::vector<std::thread> hosts;
    for (int host = 0; host < kHosts; ++host)
        hosts.emplace_back([&, host] {
            const Reduction p{in.data(), partial[host].data(), nullptr, 9, 0};
            outcomes[host] = launch(reduce_block, "reduce_block", {kBlocks, kThreads, 36}, p);
        });
    for (std::thread& host : hosts) host.join();
    for (int host = 0; host < kHosts; ++host) {
        expect("a launch among others", outcomes[host], Status::ok, "", failures);
        expect_values("a launch among others", partial[host], sums_of_blocks(in, kBlocks), failures);
    }
}

}  // namespace

void check_programs(Failures& failures) {
    for (const Settings& settings : kOrders) {
        emulation::configure(settings);
        const std::string order = name_of(settings.order);
        check_reductions(order, failures);
        check_shuffles(order, failures);
        check_copies(order, failures);
    }
    check_late_copy(failures);
    check_orders(failures);
    check_threads_of_host(failures);
    emulation::configure({});
}

}  // namespace capsroute::tests
