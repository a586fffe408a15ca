#include "tests/examples.h"

#include <math.h>

namespace capsroute::tests {
namespace {

// Numbers in [-1, 1), the same on every machine.
class Random {
   public:
    double operator()() {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return double(state >> 11) * 0x1p-52 - 1;
    }
    Numbers many(int64_t count, double scale) {
        Numbers numbers(count);
        for (double& number : numbers) number = scale * (*this)();
        return numbers;
    }
    std::vector<uint8_t> mask(int64_t count) {
        std::vector<uint8_t> mask(count);
        for (uint8_t& present : mask) present = (*this)() > -0.5;
        return mask;
    }

   private:
    uint64_t state = 20171026;
};

struct Sizes {
    int64_t batch, inputs, input_size, outputs, output_size, iterations;
};

enum Given : unsigned {
    nothing = 0,
    bias = 1,
    logits = 2,
    sample_logits = 4,
    input_mask = 8,
    output_mask = 16,
    input_weight = 32,
    masks = input_mask | output_mask,
    everything = bias | sample_logits | masks,
};

Example make(Sizes n, unsigned given = nothing, int64_t weight_inputs = 0) {
    Random random;
    Example e;
    e.batch = n.batch;
    e.inputs = n.inputs;
    e.input_size = n.input_size;
    e.outputs = n.outputs;
    e.output_size = n.output_size;
    e.iterations = n.iterations;
    e.weight_inputs = weight_inputs ? weight_inputs : n.inputs;
    e.x = random.many(n.batch * n.inputs * n.input_size, 1);
    e.weight = random.many(e.weight_inputs * n.outputs * n.output_size * n.input_size, 1 / sqrt(double(n.input_size)));
    e.grad_output = random.many(n.batch * n.outputs * n.output_size, 1);
    if (given & bias) e.bias = random.many(n.outputs * n.output_size, 0.5);
    if (given & logits) e.logits = random.many(n.inputs * n.outputs, 1);
    if (given & sample_logits) e.logits = random.many(n.batch * n.inputs * n.outputs, 1);
    e.logits_per_sample = (given & sample_logits) != 0;
    if (given & input_weight) e.input_weight = random.many(n.batch * n.inputs, 1);
    for (size_t at = 0; at < e.input_weight.size(); at += 5) e.input_weight[at] = 0;
    if (given & input_mask) e.input_mask = random.mask(n.batch * n.inputs);
    if (given & output_mask) e.output_mask = random.mask(n.batch * n.outputs);
    return e;
}

Example with_votes(Example e) {
    e.from_votes = true;
    e.votes = Random().many(e.batch * e.inputs * e.outputs * e.output_size, 1);
    e.x.clear();
    e.weight.clear();
    return e;
}

Example over_inputs(Example e) {
    e.softmax_over_inputs = true;
    return e;
}

// Couplings over inputs that are next to 0 but for a few inputs in the middle: the largest logits of chunks are so far
// apart that one chunk's sums overflow or vanish by the scale of another.
Example few_in_the_middle(Example e) {
    for (int64_t i = 0; i < e.inputs; ++i)
        for (int64_t j = 0; j < e.outputs; ++j)
            if (i < e.inputs / 3 || i >= e.inputs / 2) e.logits[i * e.outputs + j] -= 128;
    return over_inputs(e);
}

Example leaky(Example e) {
    e.leaky = true;
    return e;
}

Example last(Example e) {
    e.gradient = Gradient::last;
    return e;
}

Example detached(Example e) {
    e.gradient = Gradient::detached_votes;
    return e;
}

Example squashed(Example e, Squash squash, double eps = 1e-8, double constant = 1) {
    e.squash = squash;
    e.eps = eps;
    e.squash_constant = constant;
    return e;
}

Example keep_s(Example e) {
    e.keep_s = true;
    return e;
}

Example replaced(Example e) {
    e.replace_logits = true;
    return e;
}

Example with_factor(Example e, double factor) {
    e.agreement_factor = factor;
    return e;
}

Example cooled(Example e, Numbers temperatures = {3, 1, 0.5, 0.25}) {
    e.temperatures = temperatures;
    return e;
}

// What stands in the place of the logits is the coupling.
Example coupled(Example e) {
    e.coupling_given = true;
    e.iterations = 1;
    return e;
}

void append(std::vector<NamedExample>& to, const std::vector<NamedExample>& more) {
    to.insert(to.end(), more.begin(), more.end());
}

struct NamedSquash {
    std::string name;
    Squash squash;
    double eps, constant;
};

// With eps of 1/2, capsules are on both sides of it.
const NamedSquash kSquashes[] = {
    {"norm_eps", Squash::norm_eps, 1e-8, 1},
    {"norm_eps of a large eps", Squash::norm_eps, 0.5, 1},
    {"clamped", Squash::clamped, 1e-8, 1},
    {"clamped at a large eps", Squash::clamped, 0.5, 1},
    {"shifted", Squash::shifted, 1e-8, 0.5},
    {"shifted, large constants", Squash::shifted, 0.5, 2},
    {"exponential", Squash::exponential, 1e-8, 1},
    {"exponential of a large eps", Squash::exponential, 0.5, 1},
    {"power", Squash::power, 1e-8, 1},
    {"power 1.5 at a large eps", Squash::power, 0.5, 1.5},
    {"power 0.4", Squash::power, 1e-8, 0.4},
    {"none", Squash::none, 1e-8, 1},
};

std::vector<NamedExample> small_examples_of_options() {
    const Sizes n{2, 4, 3, 3, 2, 3};
    const unsigned all = everything | input_weight;
    std::vector<NamedExample> examples = {
        {"last", last(make(n, all))},
        {"last over inputs", last(over_inputs(make(n, bias | logits)))},
        {"last, replaced", last(replaced(make(n, bias | logits)))},
        {"last, cooled, factor", last(cooled(with_factor(make(n, logits | input_weight), 0.7)))},
        {"detached", detached(make(n))},
        {"detached, everything", detached(make(n, all))},
        {"detached over inputs, shared weight", detached(over_inputs(make(n, all, 2)))},
        {"detached votes, cooled, replaced, leaky", detached(cooled(replaced(leaky(with_votes(make(n, all))))))},
        {"detached, one iteration", detached(make({2, 4, 3, 3, 2, 1}, logits))},
        {"s kept", keep_s(make(n, bias | masks))},
        {"s kept, one iteration, over inputs", keep_s(over_inputs(make({2, 4, 3, 3, 2, 1}, bias | logits)))},
        {"s kept, last", keep_s(last(make(n, bias)))},
        {"replaced", replaced(make(n, bias | logits))},
        {"replaced over inputs", replaced(over_inputs(make(n, everything)))},
        {"replaced, four iterations, factor", replaced(with_factor(make({2, 4, 3, 3, 2, 4}, input_mask), 1.5))},
        {"factor", with_factor(make(n, bias | logits), 0.6)},
        {"negative factor, leaky", with_factor(leaky(make(n, bias | masks)), -1.3)},
        {"no factor, over inputs", with_factor(over_inputs(make(n, bias | logits)), 0)},
        {"one temperature", cooled(make(n, sample_logits), {0.4})},
        {"cooled", cooled(make({2, 4, 3, 3, 2, 4}, bias | logits))},
        {"cooled, fewer temperatures than iterations", cooled(make({2, 4, 3, 3, 2, 4}, logits), {2, 0.5})},
        {"cooled, more temperatures than iterations", cooled(make({2, 4, 3, 3, 2, 2}, bias), {2, 0.8, 0.1, 9})},
        {"cooled over inputs, factor", cooled(with_factor(over_inputs(make(n, logits | output_mask)), 0.8))},
        {"cooled, replaced, factor, leaky", cooled(replaced(with_factor(leaky(make(n, everything)), 0.8)))},
        {"input weights", make(n, input_weight)},
        {"input weights, masks", make(n, bias | masks | input_weight)},
        {"input weights over inputs", over_inputs(make(n, bias | input_weight))},
        {"input weights over inputs, everything", over_inputs(make(n, all))},
        {"input weights, one iteration", make({2, 4, 3, 3, 2, 1}, bias | input_weight)},
        {"input weights, leaky, shared weight", leaky(make(n, all, 2))},
        {"input weights of votes", with_votes(make(n, all))},
        {"given coupling", coupled(make(n, bias | logits))},
        {"given coupling of each sample", coupled(make(n, everything))},
        {"given coupling, input weights, votes", coupled(with_votes(make(n, logits | masks | input_weight)))},
        {"given coupling, s kept, cooled", keep_s(cooled(coupled(make(n, all))))},
        {"given coupling, last, shared weight", last(coupled(make(n, all, 1)))},
        {"given coupling, detached", detached(coupled(make(n, logits | input_weight)))},
    };
    for (const NamedSquash& each : kSquashes)
        examples.push_back(
            {each.name, squashed(make(n, bias | logits | output_mask), each.squash, each.eps, each.constant)});
    return examples;
}

// The factor of a capsule of zeros is 0 where its formula has no value.
std::vector<NamedExample> examples_of_zeros() {
    Example zeros = make({2, 3, 2, 2, 3, 3});
    for (double& number : zeros.x) number = 0;
    std::vector<NamedExample> examples = {{"zero input, eps 0", squashed(zeros, Squash::standard, 0)}};
    for (const NamedSquash& each : kSquashes)
        for (double eps : {0.0, each.eps})
            examples.push_back({"zero input, eps " + std::string(eps == 0 ? "0, " : "above 0, ") + each.name,
                                squashed(zeros, each.squash, eps, each.constant)});
    return examples;
}

std::vector<NamedExample> larger_examples_of_options() {
    const unsigned all = everything | input_weight;
    std::vector<NamedExample> examples = {
        {"detached, odd sizes", detached(make({37, 13, 5, 7, 12, 4}, all))},
        {"detached, a tile and one", detached(make({17, 33, 8, 10, 16, 3}))},
        {"detached, one input, many samples", detached(make({40, 1, 8, 5, 9, 3}, bias | logits))},
        {"input weights, odd sizes over inputs", over_inputs(make({9, 31, 5, 7, 13, 4}, all))},
        {"input weights, a tile and one", make({17, 33, 8, 10, 16, 3}, input_weight)},
        {"input weights, last leaky", last(leaky(make({18, 30, 7, 5, 9, 3}, all, 6)))},
        {"input weights of votes of odd sizes", with_votes(make({33, 11, 1, 7, 5, 3}, all))},
        {"input weights, one sample", make({1, 300, 8, 5, 9, 3}, bias | input_weight)},
        {"input weights, few of the inputs", few_in_the_middle(make({3, 130, 8, 5, 9, 3}, logits | input_weight))},
        {"cooled, few of the inputs", cooled(few_in_the_middle(make({3, 130, 8, 5, 9, 3}, logits)), {4, 2, 1})},
        {"cooled, replaced, long capsules", cooled(replaced(make({3, 20, 64, 4, 64, 4}, bias | logits)))},
        {"replaced, last, leaky from votes", last(replaced(leaky(with_votes(make({21, 17, 1, 10, 16, 3}, all)))))},
        {"given coupling, odd sizes", coupled(make({37, 13, 5, 7, 12, 1}, all))},
        {"given coupling, shared weight", coupled(make({18, 30, 7, 5, 9, 1}, bias | logits | input_weight, 6))},
        {"given coupling of votes", coupled(with_votes(make({33, 11, 1, 7, 5, 1}, everything)))},
        {"given coupling, no samples", coupled(make({0, 4, 3, 3, 2, 1}, bias | logits | input_weight))},
        {"s kept, odd sizes", keep_s(make({19, 17, 8, 10, 16, 3}, all))},
    };
    for (const NamedSquash& each : kSquashes)
        examples.push_back({each.name + ", odd sizes",
                            squashed(make({19, 17, 5, 7, 12, 3}, everything), each.squash, each.eps, each.constant)});
    return examples;
}

// Large enough to be divided where votes are kept, and yet with votes of a tile that fit the cache of a core. Neither 8
// nor 16 divides their inputs, and their last wave is smaller than the others.
std::vector<NamedExample> divided_examples() {
    const unsigned all = everything | input_weight;
    std::vector<NamedExample> examples = {
        {"waves", make({70, 33, 8, 10, 16, 3}), true},
        {"waves, odd number of votes", make({49, 50, 8, 9, 11, 3}, everything), true},
        {"waves, d = 16", make({49, 50, 16, 11, 9, 3}, bias | logits), true},
        {"waves, d = 16, over inputs", over_inputs(make({49, 50, 16, 9, 11, 3}, everything)), true},
        {"waves, d = 32, leaky", leaky(make({39, 49, 32, 5, 24, 2}, input_mask | output_mask)), true},
        {"waves, d = 5, over inputs", over_inputs(make({45, 70, 5, 7, 13, 4}, logits)), true},
        {"waves, d = 5, leaky", leaky(make({45, 70, 5, 7, 13, 3}, everything)), true},
        {"waves, last", last(make({45, 70, 8, 7, 13, 3}, bias | logits | input_mask)), true},
        {"waves, last over inputs", last(over_inputs(make({49, 50, 4, 9, 11, 3}, everything))), true},
        {"waves, one iteration", make({49, 50, 8, 9, 11, 1}, logits | output_mask), true},
        {"waves, detached", detached(make({70, 33, 8, 10, 16, 3})), true},
        {"waves, detached over inputs, cooled", detached(cooled(over_inputs(make({49, 50, 8, 9, 11, 3}, all)))), true},
        {"waves, detached, replaced", detached(replaced(make({45, 70, 5, 7, 13, 3}, bias | logits))), true},
        {"waves, replaced", replaced(make({49, 50, 8, 9, 11, 3}, everything)), true},
        {"waves, replaced over inputs, cooled", replaced(cooled(over_inputs(make({49, 50, 4, 9, 11, 4}, logits)))),
         true},
        {"waves, replaced, last", replaced(last(make({45, 70, 8, 7, 13, 3}, bias | logits | input_mask))), true},
        {"waves, cooled, factor", cooled(with_factor(make({49, 50, 16, 11, 9, 4}, bias | logits), 0.7)), true},
        {"waves, cooled, last, leaky", cooled(last(leaky(make({45, 70, 5, 7, 13, 3}, everything)))), true},
        {"waves, input weights", make({70, 33, 8, 10, 16, 3}, input_weight), true},
        {"waves, input weights, everything", make({49, 50, 8, 9, 11, 3}, all), true},
        {"waves, input weights, last", last(make({45, 70, 8, 7, 13, 3}, bias | input_weight)), true},
        {"waves, input weights over inputs", over_inputs(make({45, 70, 5, 7, 13, 4}, bias | input_weight)), true},
        {"waves, given coupling", coupled(make({49, 50, 8, 9, 11, 1}, bias | logits)), true},
        {"waves, given coupling of each sample", coupled(make({45, 70, 5, 7, 13, 1}, all)), true},
        {"waves, s kept", keep_s(make({49, 50, 8, 9, 11, 3}, all)), true},
    };
    for (const NamedSquash& each : kSquashes)
        examples.push_back(
            {"waves, " + each.name,
             squashed(make({49, 50, 4, 9, 11, 2}, bias | output_mask), each.squash, each.eps, each.constant), true});
    return examples;
}

}  // namespace

std::vector<NamedExample> small_examples() {
    const Sizes n{2, 4, 3, 3, 2, 3};
    Example one_at_zero = make({1, 2, 1, 1, 1, 2});
    one_at_zero.x = {0, 0};
    std::vector<NamedExample> examples = {
        {"plain", make(n)},
        {"one of each", make({1, 1, 1, 1, 1, 1})},
        {"one iteration with logits", make({2, 4, 3, 3, 2, 1}, bias | logits)},
        {"bias, logits", make(n, bias | logits)},
        {"logits of each sample, masks", make(n, sample_logits | masks)},
        {"masks", make(n, bias | masks)},
        {"masks over inputs", over_inputs(make(n, masks))},
        {"shared weight", make(n, bias, 2)},
        {"leaky, output mask", leaky(make(n, bias | output_mask))},
        {"over inputs", over_inputs(make(n, bias | sample_logits | masks))},
        {"over inputs, shared weight", over_inputs(make(n, logits, 1))},
        {"votes", with_votes(make(n, bias | logits | masks))},
        {"votes over inputs", over_inputs(with_votes(make(n, bias)))},
        {"zero input", one_at_zero},
    };
    append(examples, small_examples_of_options());
    return examples;
}

std::vector<NamedExample> all_examples() {
    std::vector<NamedExample> examples = small_examples();
    append(examples, {
                         {"no samples", make({0, 4, 3, 3, 2, 3}, bias)},
                         {"a whole tile", make({16, 9, 8, 10, 16, 3}, bias)},
                         {"a tile and one", make({17, 33, 8, 10, 16, 3})},
                         {"below a tile", make({15, 65, 8, 11, 16, 2}, bias | logits)},
                         {"odd sizes", make({37, 13, 5, 7, 12, 4}, everything)},
                         {"odd sizes over inputs", over_inputs(make({9, 31, 5, 7, 13, 4}, everything))},
                         {"leaky, shared weight", leaky(make({18, 30, 7, 5, 9, 3}, everything, 6))},
                         {"last", last(make({19, 17, 8, 10, 16, 3}, everything))},
                         {"last over inputs", last(over_inputs(make({5, 17, 8, 3, 16, 3}, bias, 1)))},
                         {"last leaky from votes", last(leaky(with_votes(make({21, 17, 1, 10, 16, 3}, everything))))},
                         {"votes of odd sizes", with_votes(make({33, 11, 1, 7, 5, 3}, everything))},
                         {"long capsules", make({3, 20, 64, 4, 64, 3})},
                         {"one sample", make({1, 300, 8, 5, 9, 3}, bias)},
                         {"few of the inputs", few_in_the_middle(make({3, 130, 8, 5, 9, 3}, logits))},
                     });
    append(examples, examples_of_zeros());
    append(examples, larger_examples_of_options());
    append(examples, divided_examples());
    return examples;
}

std::vector<NamedExample> agreement_examples() {
    return {
        {"one of each", make({1, 1, 1, 1, 1, 1})},
        {"no samples", make({0, 4, 3, 3, 2, 3})},
        {"odd sizes", over_inputs(make({37, 13, 5, 7, 12, 4}, bias | sample_logits | input_weight))},
        {"a whole tile", make({16, 9, 8, 10, 16, 3})},
        {"shared weight", leaky(make({18, 30, 7, 5, 9, 3}, bias, 6))},
        {"votes of odd sizes", with_votes(make({33, 11, 1, 7, 5, 3}))},
        {"long capsules", make({3, 20, 64, 4, 64, 3})},
        {"one sample", make({1, 300, 8, 5, 9, 3})},
        {"d = 16", make({49, 50, 16, 11, 9, 1})},
    };
}

}  // namespace capsroute::tests
