#include "choice.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "inputs_in_lanes/plan.h"

namespace capsroute {
namespace cpu {
namespace {

constexpr const char* kNames[] = {"automatic", "made", "tile", "wave"};  // in the order of CpuVotes
constexpr const char* kWords[] = {"", "votes made in every pass", "votes kept for a tile of samples",
                                  "votes kept for a wave of samples"};
constexpr int kNameCount = int(sizeof kNames / sizeof kNames[0]);

std::atomic<int> forced{0};

constexpr double kTileGain = 1.15, kWaveGain = 1.5;
constexpr int64_t kCoreBytes = 1 << 20;  // votes of a tile stay in a second-level cache

bool tile_fits(const RoutingProblem& p) {
    return p.inputs * p.outputs * p.output_size <= kCoreBytes / kTileBytes;
}

// Cycles per vote component of a full register, forward, by measurements on AVX-512 (docs/kernels.md): a vote takes a
// multiply-add per component of the input, and its use in a pass some more cycles; registers with empty lanes cost as
// much as full ones.
struct Cost {
    double samples_filled, inputs_filled;  // lanes in use, as a share
    double size, passes;

    explicit Cost(const RoutingProblem& p)
        : samples_filled(filled(p.batch, lanes_of(p))),
          inputs_filled(filled(p.inputs, lanes_of(p))),
          size(double(p.input_size)),
          passes(double(p.iterations - 1)) {}

    static double filled(int64_t count, int64_t lanes) {
        return count > 0 ? double(count) / double(divide_up(count, lanes) * lanes) : 1;
    }

    double made() const { return ((passes + 1) * 1.05 * size + 7 * passes) / samples_filled; }
    double tile() const { return (1.05 * size + 3 + 8 * passes) / samples_filled; }
    // Each weight is turned into the lanes once for the samples of a wave.
    double wave(int64_t samples) const {
        return (size * (1.1 + 6.0 / double(samples)) + 6 + 6.5 * passes) / inputs_filled;
    }
};

}  // namespace

CpuVotes votes_for(const RoutingProblem& p) {
    const bool from_weight = !p.votes && p.batch > 0;
    const bool tile = from_weight && tile_fits(p);
    const int64_t samples = from_weight && p.weight_inputs == p.inputs ? samples_of_wave(p) : 0;
    const CpuVotes wanted = CpuVotes(forced.load(std::memory_order_relaxed));
    if (wanted == CpuVotes::tile) return tile ? CpuVotes::tile : CpuVotes::made;
    if (wanted == CpuVotes::wave) return samples > 0 ? CpuVotes::wave : CpuVotes::made;
    if (wanted == CpuVotes::made) return CpuVotes::made;
    // Other ways must be clearly better. They take more memory; and what the model leaves out of waves, that their
    // samples wait for each other and that backward reads and writes the gradient of the weight once per wave, has
    // eaten gains below a half.
    const Cost cost(p);
    const double made = cost.made();
    const double by_tile = tile ? made / cost.tile() : 0, by_wave = samples > 0 ? made / cost.wave(samples) : 0;
    if (by_wave >= kWaveGain && by_wave > by_tile) return CpuVotes::wave;
    return by_tile >= kTileGain ? CpuVotes::tile : CpuVotes::made;
}

}  // namespace cpu

const char* cpu_votes_name(int votes) {
    return votes >= 0 && votes < cpu::kNameCount ? cpu::kNames[votes] : nullptr;
}

const char* cpu_votes() {
    return cpu::kNames[cpu::forced.load(std::memory_order_relaxed)];
}

bool cpu_votes_choose(const char* name) {
    for (int votes = 0; name && votes < cpu::kNameCount; ++votes) {
        if (std::strcmp(name, cpu::kNames[votes]) != 0) continue;
        cpu::forced.store(votes, std::memory_order_relaxed);
        return true;
    }
    return false;
}

const char* cpu_votes_of(const RoutingProblem& problem) {
    if (check(problem) != Status::ok) return nullptr;
    return problem.votes ? "votes read in every pass" : cpu::kWords[int(cpu::votes_for(problem))];
}

}  // namespace capsroute
