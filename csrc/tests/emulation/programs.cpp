// Kernels that keep all rules: their results are right, and the same bits in every order of the threads.
#include "tests/emulation/programs.h"

#include <math.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace capsroute::tests {

using namespace cuda;

const char* name_of(Order order) {
    constexpr const char* kNames[] = {"forward", "reverse", "shuffled"};
    return kNames[int(order)];
}

void expect(const std::string& what, const Outcome& outcome, Status status, const std::string& text,
            Failures& failures) {
    if (outcome.status == status && outcome.detail.find(text) != std::string::npos) return;
    failures.add(what + ": expected '" + text + "', but the status is '" + status_text(outcome.status) + "', '" +
                 outcome.detail + "'");
}

namespace {

CAPSROUTE_KERNEL(1024, 1) run_body(CAPSROUTE_PARAMETER Program p) {
    p.body(p, shared_memory(p.shared_floats));
}

}  // namespace

Outcome run(const char* name, const Shape& shape, Body body, const float* in, float* out, bool wrong) {
    return launch(run_body, name, shape, Program{body, in, out, wrong, shape.shared_bytes / 4}, {shape.threads, 1});
}

namespace {

constexpr int kThreads = 256, kBlocks = 6, kRounds = 4, kReductionBytes = 9 * 4;

// The sum over the block, for all its threads.
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

float sum_of_inputs(const Program& p, const Shared& memory) {
    return sum_of_block(memory, p.in[block_index() * thread_count() + thread_index()]);
}

void reduce_block(const Program& p, const Shared& memory) {
    const float sum = sum_of_inputs(p, memory);
    if (thread_index() == 0) p.out[block_index()] = sum;
}

// Each round adds up what the round before left in all blocks.
void reduce_grid(const Program& p, const Shared& memory) {
    float value = p.in[block_index() * thread_count() + thread_index()];
    for (int round = 0; round < kRounds; ++round) {
        const float own = sum_of_block(memory, value);
        if (thread_index() == 0) p.out[kRounds + block_index()] = own;
        grid_sync();
        float sum = 0;
        for (int block = 0; block < block_count(); ++block) sum += p.out[kRounds + block];
        grid_sync();
        if (block_index() == 0 && thread_index() == 0) p.out[round] = sum;
        value = sum / float(thread_count()) + float(block_index());
    }
}

// The blocks of a cluster add up what stands in each other's memory; ranks follow each other in the grid.
template <int kCluster>
void reduce_cluster(const Program& p, const Shared& memory) {
    const float own = sum_of_inputs(p, memory.part(0, 8));
    const Shared mine = memory.part(8, 1);
    if (thread_index() == 0) mine.store(0, own);
    cluster_sync();
    float sum = 0;
    for (int rank = 0; rank < kCluster; ++rank) sum += mine.in_block(rank).load(0);
    cluster_sync();
    if (thread_index() == 0) p.out[block_index()] = sum;
}

std::vector<float> inputs(int count) {
    std::vector<float> result(count);
    for (int n = 0; n < count; ++n) result[n] = float((n * 37 + 11) % 101 - 50);  // sums of them are exact
    return result;
}

// For each block the sum over its cluster.
std::vector<double> sums_of(const std::vector<float>& in, int cluster) {
    std::vector<double> result(in.size() / kThreads);
    for (size_t block = 0; block < result.size(); ++block)
        for (size_t n = block / cluster * cluster; n < (block / cluster + 1) * cluster; ++n)
            for (int thread = 0; thread < kThreads; ++thread) result[block] += in[n * kThreads + thread];
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
    const std::vector<float> in = inputs(kBlocks * kThreads);
    const auto check = [&](const char* name, Body body, const Shape& shape, const std::vector<double>& expected) {
        const std::string what = std::string(name) + ", " + order;
        std::vector<float> out(kRounds + kBlocks, NAN);
        expect(what, run(name, shape, body, in.data(), out.data()), Status::ok, "", failures);
        expect_values(what, out, expected, failures);
    };
    check("reduce_block", reduce_block, {kBlocks, kThreads, kReductionBytes}, sums_of(in, 1));
    check("reduce_cluster<1>", reduce_cluster<1>, {kBlocks, kThreads, kReductionBytes}, sums_of(in, 1));
    check("reduce_cluster<2>", reduce_cluster<2>, {kBlocks, kThreads, kReductionBytes, false, 2}, sums_of(in, 2));
    check("reduce_cluster<3>", reduce_cluster<3>, {kBlocks, kThreads, kReductionBytes, false, 3}, sums_of(in, 3));

    constexpr int kLive = 3;  // one for each multiprocessor
    double sum = sums_of(in, kLive)[0];
    std::vector<double> rounds;
    for (int round = 0; round < kRounds; ++round) {
        rounds.push_back(sum);
        sum = kLive * sum + kThreads * (kLive - 1) * kLive / 2;
    }
    check("reduce_grid", reduce_grid, {kLive, kThreads, kReductionBytes, true}, rounds);
}

// 1 where a thread got what it should.
void shuffle_all(const Program& p, const Shared&) {
    const int thread = thread_index(), lane = thread % 32, first = thread - lane;
    const float turned = shuffle(float(thread), lane + 5);  // beyond the last lane it goes on with the first
    const double crossed = shuffle_xor(1.0 / (1 + thread), 21);
    const int seventh = shuffle(-thread, 7);
    const uint32_t bits = shuffle_xor(0x80000000u + uint32_t(thread), 1);
    const bool any = any_in_warp(thread == 32 + 19), none = any_in_warp(false);
    warp_sync();
    p.out[thread] = turned == float(first + (lane + 5) % 32) && crossed == 1.0 / (1 + (thread ^ 21)) &&
                    seventh == -(first + 7) && bits == 0x80000000u + uint32_t(thread ^ 1) && any == (first == 32) &&
                    !none;
}

void check_shuffles(const std::string& order, Failures& failures) {
    std::vector<float> out(64);
    expect("shuffle_all, " + order, run("shuffle_all", {1, 64, 0}, shuffle_all, nullptr, out.data()), Status::ok, "",
           failures);
    expect_values("shuffle_all, " + order, out, std::vector<double>(64, 1), failures);
}

// Of 128 floats twice as many: the rest are zeros. Each thread reads what another one copied.
void copy(const Program& p, const Shared& memory) {
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
    expect("copy, " + order, run("copy", {1, 64, 1024}, copy, in, out), Status::ok, "", failures);
    for (int n = 0; n < 256; ++n) {
        const int from = n / 4 * 4 + 3 - n % 4;
        if (out[n] != (from < 128 ? in[from] : 0.0f))
            failures.add("copy, " + order + ": wrong at " + std::to_string(n));
    }
}

// A copy takes effect as late as it may, so that who changes its source too early sees that.
void check_late_copy(Failures& failures) {
    alignas(16) float in[4] = {0, 1, 2, 3};
    const Body change_source = [](const Program& p, const Shared& memory) {
        if (thread_index() == 0) memory.copy4(0, p.in, true);
        warp_sync();
        if (thread_index() == 1) p.out[2] = 20.0f;
        warp_sync();
        wait_for_copies();
        warp_sync();
        if (thread_index() == 2) p.out[3] = memory.load(1) + memory.load(2);
    };
    expect("change_source", run("change_source", {1, 32, 16}, change_source, in, in), Status::ok, "", failures);
    if (in[3] != 21.0f) failures.add("a copy reads its source before it is waited for");
}

// Who ran when: (block, thread) as block * 64 + thread, behind how many there are.
void write_diary(const Program& p, const Shared&) {
    for (int visit = 0; visit < 2; ++visit) {
        p.out[int(++p.out[0])] = float(block_index() * 64 + thread_index());
        if (visit == 0) block_sync();
    }
}

std::vector<float> diary(const Settings& settings, Failures& failures) {
    emulation::configure(settings);
    std::vector<float> entries(1 + 2 * 3 * 64);
    expect("write_diary", run("write_diary", {3, 64, 0}, write_diary, nullptr, entries.data()), Status::ok, "",
           failures);
    entries.erase(entries.begin());
    return entries;
}

void check_orders(Failures& failures) {
    const std::vector<float> forward = diary({.order = Order::forward}, failures);
    std::vector<float> expected;
    for (int block = 0; block < 3; ++block)
        for (int n = 0; n < 128; ++n) expected.push_back(float(block * 64 + n % 64));
    if (forward != expected) failures.add("the forward order is not that of the numbers");
    std::reverse(expected.begin(), expected.end());
    if (diary({.order = Order::reverse}, failures) != expected) failures.add("the reverse order is not that");

    const std::vector<float> shuffled = diary({.order = Order::shuffled, .seed = 1}, failures);
    if (shuffled != diary({.order = Order::shuffled, .seed = 1}, failures)) failures.add("a seed has two orders");
    if (shuffled == diary({.order = Order::shuffled, .seed = 2}, failures)) failures.add("two seeds have one order");
    std::vector<float> sorted = shuffled;
    std::sort(sorted.begin(), sorted.end());
    std::sort(expected.begin(), expected.end());
    if (sorted != expected || shuffled == forward) failures.add("the shuffled order is not a shuffled one");
}

// Several threads of the host launch at the same time.
void check_threads_of_host(Failures& failures) {
    constexpr int kHosts = 4, kBlocksOfHost = 2;
    const std::vector<float> in = inputs(kBlocksOfHost * kThreads);
    std::vector<std::vector<float>> out(kHosts, std::vector<float>(kBlocksOfHost));
    std::vector<Outcome> outcomes(kHosts);
    std::vector<std::thread> hosts;
    for (int host = 0; host < kHosts; ++host)
        hosts.emplace_back([&, host] {
            const Shape shape{kBlocksOfHost, kThreads, kReductionBytes};
            outcomes[host] = run("reduce_block", shape, reduce_block, in.data(), out[host].data());
        });
    for (std::thread& host : hosts) host.join();
    for (int host = 0; host < kHosts; ++host) {
        expect("a launch among others", outcomes[host], Status::ok, "", failures);
        expect_values("a launch among others", out[host], sums_of(in, 1), failures);
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
