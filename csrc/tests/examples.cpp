#include "tests/examples.h"

#include <math.h>

#include <iterator>

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

enum : unsigned {
    bias = 1,
    logits = 2,
    sample_logits = 4,
    input_mask = 8,
    output_mask = 16,
    input_weight = 32,
    over_inputs = 64,
    leaky = 128,
    last = 256,
    detached = 512,
    keep_s = 1024,
    replaced = 2048,
    coupled = 4096,  // what stands in the place of the logits is the coupling
    cooled = 8192,   // by temperatures, of which there are more than most examples have iterations
    votes = 16384,
    shared = 32768,  // weights, by several inputs
    once = 65536,    // one iteration
    masks = input_mask | output_mask,
    everything = bias | sample_logits | masks | input_weight,
};

const char* const kNames[] = {"bias",        "logits", "sample logits", "input mask", "output mask", "input weight",
                              "over inputs", "leaky",  "last",          "detached",   "s kept",      "replaced",
                              "coupled",     "cooled", "votes",         "shared",     "once"};

struct Scaling {
    const char* name = "";
    Squash squash = Squash::standard;
    double eps = 1e-8, constant = 1;
};

struct Options {
    unsigned set = 0;
    double factor = 1;  // of the agreement
    Numbers temperatures = {};
    Scaling scaling = {};
};

Example make(const Sizes& n, const Options& options = {}) {
    const auto is = [&](unsigned flag) { return (options.set & flag) != 0; };
    Random random;
    Example e;
    e.batch = n.batch;
    e.inputs = e.weight_inputs = n.inputs;
    e.input_size = n.input_size;
    e.outputs = n.outputs;
    e.output_size = n.output_size;
    e.iterations = is(coupled | once) ? 1 : n.iterations;
    for (int64_t count = 1; is(shared) && count < n.inputs; ++count)
        if (n.inputs % count == 0) e.weight_inputs = count;
    e.softmax_over_inputs = is(over_inputs);
    e.leaky = is(leaky);
    e.gradient = is(last) ? Gradient::last : is(detached) ? Gradient::detached_votes : Gradient::all;
    e.keep_s = is(keep_s);
    e.replace_logits = is(replaced);
    e.coupling_given = is(coupled);
    e.logits_per_sample = is(sample_logits);
    e.from_votes = is(votes);
    e.agreement_factor = options.factor;
    e.temperatures = is(cooled) ? Numbers{3, 1, 0.5, 0.25} : options.temperatures;
    e.squash = options.scaling.squash;
    e.eps = options.scaling.eps;
    e.squash_constant = options.scaling.constant;
    if (is(votes)) {
        e.votes = random.many(n.batch * n.inputs * n.outputs * n.output_size, 1);
    } else {
        e.x = random.many(n.batch * n.inputs * n.input_size, 1);
        e.weight =
            random.many(e.weight_inputs * n.outputs * n.output_size * n.input_size, 1 / sqrt(double(n.input_size)));
    }
    e.grad_output = random.many(n.batch * n.outputs * n.output_size, 1);
    if (is(bias)) e.bias = random.many(n.outputs * n.output_size, 0.5);
    if (is(logits | sample_logits)) e.logits = random.many((is(logits) ? 1 : n.batch) * n.inputs * n.outputs, 1);
    if (is(input_weight)) e.input_weight = random.many(n.batch * n.inputs, 1);
    for (size_t at = 0; at < e.input_weight.size(); at += 5) e.input_weight[at] = 0;
    if (is(input_mask)) e.input_mask = random.mask(n.batch * n.inputs);
    if (is(output_mask)) e.output_mask = random.mask(n.batch * n.outputs);
    return e;
}

std::string name_of(const Sizes& n, const Options& options) {
    std::string name;
    for (int64_t size : {n.batch, n.inputs, n.input_size, n.outputs, n.output_size, n.iterations})
        name.append(name.empty() ? "" : "x").append(std::to_string(size));
    const auto add = [&](const std::string& word) { name.append(", ").append(word); };
    for (size_t flag = 0; flag < std::size(kNames); ++flag)
        if (options.set >> flag & 1) add(kNames[flag]);
    if (options.factor != 1) add("factor " + std::to_string(options.factor));
    if (!options.temperatures.empty()) add(std::to_string(options.temperatures.size()) + " temperatures");
    if (options.scaling.name[0]) add(options.scaling.name);
    return name;
}

// With eps of 1/2, capsules are on both sides of it.
constexpr Scaling kScalings[] = {
    {"norm_eps", Squash::norm_eps},
    {"norm_eps of a large eps", Squash::norm_eps, 0.5},
    {"clamped", Squash::clamped},
    {"clamped at a large eps", Squash::clamped, 0.5},
    {"shifted", Squash::shifted, 1e-8, 0.5},
    {"shifted, large constants", Squash::shifted, 0.5, 2},
    {"exponential", Squash::exponential},
    {"exponential of a large eps", Squash::exponential, 0.5},
    {"power", Squash::power},
    {"power 1.5 at a large eps", Squash::power, 0.5, 1.5},
    {"power 0.4", Squash::power, 1e-8, 0.4},
    {"none", Squash::none},
};

std::vector<Options> all_options() {
    std::vector<Options> options = {
        {},
        {once | logits},
        {bias | logits},
        {sample_logits | masks},
        {bias | masks},
        {over_inputs | masks},
        {shared | bias},
        {leaky | bias | output_mask},
        {leaky | shared | everything},
        {over_inputs | everything},
        {over_inputs | shared | logits},
        {votes | bias | logits | masks},
        {votes | over_inputs | bias},
        {votes | everything},
        // What is differentiated
        {last | everything},
        {last | over_inputs | bias | logits},
        {last | replaced | bias | logits},
        {last | leaky | votes | everything},
        {last | cooled | logits | input_weight, 0.7},
        {detached},
        {detached | everything},
        {detached | over_inputs | shared | everything},
        {detached | cooled | replaced | leaky | votes | everything},
        {detached | once | logits},
        // How the logits follow
        {keep_s | bias | masks},
        {keep_s | once | over_inputs | bias | logits},
        {keep_s | last | bias},
        {replaced | bias | logits},
        {replaced | over_inputs | everything},
        {replaced | input_mask, 1.5},
        {bias | logits, 0.6},
        {leaky | bias | masks, -1.3},
        {over_inputs | bias | logits, 0},
        {sample_logits, 1, {0.4}},
        {logits, 1, {2, 0.5}},
        {cooled | bias | logits},
        {cooled | over_inputs | logits | output_mask, 0.8},
        {cooled | replaced | leaky | everything, 0.8},
        // What multiplies, or stands in the place of, the coupling
        {input_weight},
        {bias | masks | input_weight},
        {over_inputs | bias | input_weight},
        {once | bias | input_weight},
        {coupled | bias | logits},
        {coupled | everything},
        {coupled | votes | logits | masks | input_weight},
        {coupled | keep_s | cooled | everything},
        {coupled | last | shared | everything},
        {coupled | detached | logits | input_weight},
    };
    for (const Scaling& scaling : kScalings) options.push_back({bias | logits | output_mask, 1, {}, scaling});
    return options;
}

// Around the edges of tiles of 8 and 16.
constexpr Sizes kLargerSizes[] = {
    {37, 13, 5, 7, 12, 4}, {17, 33, 8, 10, 16, 3}, {9, 31, 5, 7, 13, 4},   {40, 1, 8, 5, 9, 3},
    {18, 30, 7, 5, 9, 3},  {33, 11, 1, 7, 5, 3},   {1, 300, 8, 5, 9, 3},   {16, 9, 8, 10, 16, 3},
    {3, 20, 64, 4, 64, 4}, {21, 17, 1, 10, 16, 3}, {19, 17, 8, 10, 16, 3}, {15, 65, 8, 11, 16, 2},
    {3, 130, 8, 5, 9, 3},
};

// Large enough to be divided where votes are kept, and yet with votes of a tile that fit the cache of a core. Neither 8
// nor 16 divides their inputs, and their last wave is smaller than the others.
constexpr Sizes kDividedSizes[] = {
    {70, 33, 8, 10, 16, 3}, {49, 50, 8, 9, 11, 3}, {49, 50, 16, 11, 9, 3}, {39, 49, 32, 5, 24, 2},
    {45, 70, 5, 7, 13, 4},  {45, 70, 8, 7, 13, 3}, {49, 50, 4, 9, 11, 2},
};

// The options, one after the other in the next of the sizes.
template <size_t kCount>
void append(std::vector<NamedExample>& examples, const Sizes (&sizes)[kCount], bool divided = false) {
    size_t next = 0;
    for (const Options& options : all_options()) {
        if (divided && options.set & (votes | shared)) continue;  // those are never kept in waves
        const Sizes& n = sizes[next++ % kCount];
        examples.push_back({name_of(n, options), make(n, options), divided});
    }
}

// The factor of a capsule of zeros is 0 where its formula has no value.
void append_zeros(std::vector<NamedExample>& examples) {
    const Sizes n{2, 3, 2, 2, 3, 3};
    for (const Scaling& scaling : kScalings)
        for (double eps : {0.0, scaling.eps}) {
            Example e = make(n, {.scaling = {scaling.name, scaling.squash, eps, scaling.constant}});
            for (double& number : e.x) number = 0;
            examples.push_back({"zeros, eps " + std::string(eps == 0 ? "0, " : "above 0, ") + scaling.name, e});
        }
}

// Couplings over inputs that are next to 0 but for a few inputs in the middle: the largest logits of chunks are so far
// apart that one chunk's sums overflow or vanish by the scale of another.
Example few_in_the_middle(const Options& options) {
    Example e = make({3, 130, 8, 5, 9, 3}, options);
    for (int64_t i = 0; i < e.inputs; ++i)
        for (int64_t j = 0; j < e.outputs; ++j)
            if (i < e.inputs / 3 || i >= e.inputs / 2) e.logits[i * e.outputs + j] -= 128;
    return e;
}

}  // namespace

std::vector<NamedExample> small_examples() {
    std::vector<NamedExample> examples;
    append(examples, {{2, 4, 3, 3, 2, 3}});
    examples.push_back({"one of each", make({1, 1, 1, 1, 1, 1})});
    examples.push_back({"four iterations, replaced", make({2, 4, 3, 3, 2, 4}, {replaced | cooled | bias | logits})});
    Example one_at_zero = make({1, 2, 1, 1, 1, 2});
    one_at_zero.x = {0, 0};
    examples.push_back({"zero input", one_at_zero});
    return examples;
}

std::vector<NamedExample> all_examples() {
    std::vector<NamedExample> examples = small_examples();
    append(examples, kLargerSizes);
    append(examples, kDividedSizes, true);
    append_zeros(examples);
    examples.push_back({"no samples", make({0, 4, 3, 3, 2, 3}, {bias})});
    examples.push_back({"no samples, coupled", make({0, 4, 3, 3, 2, 1}, {coupled | bias | logits | input_weight})});
    examples.push_back({"few of the inputs", few_in_the_middle({over_inputs | logits})});
    examples.push_back({"few of the inputs, weighted", few_in_the_middle({over_inputs | logits | input_weight})});
    examples.push_back({"few of the inputs, cooled", few_in_the_middle({over_inputs | logits, 1, {4, 2, 1}})});
    return examples;
}

std::vector<NamedExample> agreement_examples() {
    std::vector<NamedExample> examples = {
        {"one of each", make({1, 1, 1, 1, 1, 1})},
        {"no samples", make({0, 4, 3, 3, 2, 3})},
        {"with options", make({37, 13, 5, 7, 12, 4}, {over_inputs | bias | sample_logits | input_weight})},
        {"shared weight", make({18, 30, 7, 5, 9, 3}, {shared | leaky | bias})},
        {"votes", make({33, 11, 1, 7, 5, 3}, {votes})},
    };
    for (const Sizes& n :
         {Sizes{16, 9, 8, 10, 16, 3}, {3, 20, 64, 4, 64, 3}, {1, 300, 8, 5, 9, 3}, {49, 50, 16, 11, 9, 1}})
        examples.push_back({name_of(n, {}), make(n)});
    return examples;
}

}  // namespace capsroute::tests
