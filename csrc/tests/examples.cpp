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

enum Given : unsigned { nothing = 0, bias = 1, logits = 2, sample_logits = 4, input_mask = 8, output_mask = 16 };

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
    e.gradient_last = true;
    return e;
}

// Large enough to be divided where votes are kept, and yet with votes of a tile that fit the cache of a core. Neither 8
// nor 16 divides their inputs, and their last wave is smaller than the others.
std::vector<NamedExample> divided_examples() {
    const unsigned everything = bias | sample_logits | input_mask | output_mask;
    return {
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
    };
}

}  // namespace

std::vector<NamedExample> small_examples() {
    const Sizes n{2, 4, 3, 3, 2, 3};
    const unsigned masks = input_mask | output_mask;
    Example one_at_zero = make({1, 2, 1, 1, 1, 2});
    one_at_zero.x = {0, 0};
    return {
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
}

std::vector<NamedExample> all_examples() {
    std::vector<NamedExample> examples = small_examples();
    Example zero_without_eps = make({2, 3, 2, 2, 3, 3});
    for (double& number : zero_without_eps.x) number = 0;
    zero_without_eps.eps = 0;
    const unsigned everything = bias | sample_logits | input_mask | output_mask;
    const std::vector<NamedExample> larger = {
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
        {"zero input, eps 0", zero_without_eps},
        {"long capsules", make({3, 20, 64, 4, 64, 3})},
        {"one sample", make({1, 300, 8, 5, 9, 3}, bias)},
        {"few of the inputs", few_in_the_middle(make({3, 130, 8, 5, 9, 3}, logits))},
    };
    examples.insert(examples.end(), larger.begin(), larger.end());
    const std::vector<NamedExample> divided = divided_examples();
    examples.insert(examples.end(), divided.begin(), divided.end());
    return examples;
}

}  // namespace capsroute::tests
