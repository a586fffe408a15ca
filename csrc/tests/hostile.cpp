#include "tests/hostile.h"

#include <math.h>
#include <string.h>

#include <chrono>
#include <iterator>
#include <list>
#include <string>

#include "tests/arguments.h"

namespace capsroute::tests {
namespace {

constexpr int64_t kTwo31 = int64_t{1} << 31, kTwo32 = int64_t{1} << 32;
constexpr int64_t kHostileSizes[] = {
    INT64_MIN, INT64_MIN + 1, -kTwo32, -kTwo31,    -1,         0,      1,          2,         15,        16,
    17,        kTwo31 - 1,    kTwo31,  kTwo31 + 1, kTwo32 - 1, kTwo32, kTwo32 + 1, 1LL << 49, 1LL << 52, 1LL << 62,
    INT64_MAX};
constexpr int32_t kHostileNumbers[] = {INT32_MIN, -1, 0, 1, 2, 3, 4, 7, 8, 32, 33, 1000, 4097, INT32_MAX};
constexpr double kHostileReals[] = {NAN, INFINITY, -INFINITY, 0, -0.0, -1, 1e-320, 1e308, 1};

alignas(64) uint8_t any[64];  // stands for every buffer; nothing is read from it

void* any_or_null(Random& random, int64_t null_one_in) {
    return random.one_in(null_one_in) ? nullptr : any;
}

// Off the alignment of every element there is.
void* misaligned(Random& random) {
    return any + 1 + 2 * random.below(31);
}

// A power of two, or a neighbour of one; the more, the rarer.
int64_t size_of_any_kind(Random& random) {
    const int64_t power = int64_t{1} << random.below(1 + random.below(62));
    return random.one_in(2) ? power : power + random.below(3) - 1;
}

// Sizes and options of a small problem that is right. Pointers are left to the caller.
RoutingProblem right_problem(Random& random) {
    constexpr int64_t kBatches[] = {0, 1, 2, 5, 17}, kVectors[] = {1, 2, 3, 8, 9, 16};
    RoutingProblem p{};
    p.batch = random.one_of(kBatches);
    p.weight_inputs = 1 + random.below(4);
    p.inputs = p.weight_inputs * (1 + random.below(3));
    p.outputs = 1 + random.below(5);
    p.input_size = random.one_of(kVectors);
    p.output_size = random.one_of(kVectors);
    p.iterations = 1 + random.below(3);
    p.dtype = kFormats[random.below(4)].dtype;
    p.softmax_over_inputs = random.one_in(3);
    p.leaky = !p.softmax_over_inputs && random.one_in(4);
    p.gradient = Gradient(random.below(3));
    p.squash = Squash(random.below(7));
    p.eps = 1e-6;
    p.squash_constant = 0.5;
    p.squash_output = !random.one_in(4);
    p.replace_logits = random.one_in(4);
    p.agreement_factor = 0.5;
    p.temperatures = int32_t(1 + random.below(kTemperatures));
    for (int t = 0; t < p.temperatures; ++t) p.inverse_temperature[t] = 1 + 0.1 * t;
    p.threads = int32_t(1 + random.below(3));
    p.allow_tf32 = random.one_in(2);
    p.cuda_kernel = random.one_in(3) ? CudaKernel::plain : CudaKernel::automatic;
    p.cuda_fusion = CudaFusion(random.below(4));
    p.logits_per_sample = random.one_in(2);
    if (random.one_in(6)) {
        p.coupling_given = true;
        p.iterations = 1;
        p.softmax_over_inputs = p.leaky = false;
    }
    return p;
}

void spoil_sizes(Random& random, RoutingProblem& p) {
    int64_t* const sizes[] = {&p.batch,       &p.inputs,        &p.outputs,   &p.input_size,
                              &p.output_size, &p.weight_inputs, &p.iterations};
    const int64_t spoilt = random.below(4);
    for (int64_t n = 0; n < spoilt; ++n) *random.one_of(sizes) = random.one_of(kHostileSizes);
}

void spoil_options(Random& random, RoutingProblem& p) {
    switch (random.below(12)) {
        case 0: p.dtype = DType(random.one_of(kHostileNumbers)); break;
        case 1: p.gradient = Gradient(random.one_of(kHostileNumbers)); break;
        case 2: p.squash = Squash(random.one_of(kHostileNumbers)); break;
        case 3: p.cuda_kernel = CudaKernel(random.one_of(kHostileNumbers)); break;
        case 4: p.cuda_fusion = CudaFusion(random.one_of(kHostileNumbers)); break;
        case 5: p.temperatures = random.one_of(kHostileNumbers); break;
        case 6: p.threads = random.one_of(kHostileNumbers); break;
        case 7: p.eps = random.one_of(kHostileReals); break;
        case 8: p.squash_constant = random.one_of(kHostileReals); break;
        case 9: p.agreement_factor = random.one_of(kHostileReals); break;
        case 10: p.inverse_temperature[random.below(kTemperatures)] = random.one_of(kHostileReals); break;
        default: p.softmax_over_inputs = p.leaky = true;
    }
}

}  // namespace

RoutingProblem hostile_problem(Random& random) {
    RoutingProblem p = right_problem(random);
    if (random.one_in(2)) {  // sizes that may be too large together where none is alone
        p.batch = random.one_in(4) ? 0 : size_of_any_kind(random);
        p.weight_inputs = size_of_any_kind(random);
        p.inputs = random.one_in(2) ? p.weight_inputs : size_of_any_kind(random);
        p.outputs = size_of_any_kind(random);
        p.input_size = size_of_any_kind(random);
        p.output_size = random.one_in(2) ? 1 + random.below(64) : size_of_any_kind(random);
        if (!p.coupling_given && random.one_in(2)) p.iterations = size_of_any_kind(random);
    } else {
        spoil_sizes(random, p);
    }
    if (random.one_in(2)) spoil_options(random, p);
    if (random.one_in(8)) p.cuda_kernel = CudaKernel::fused;
    if (random.one_in(3)) {
        p.votes = any_or_null(random, 10);
        for (int64_t& stride : p.vote_strides) {
            stride = random.one_in(8) ? random.one_of(kHostileSizes) : random.below(200) - 100;
        }
    }
    if (!p.votes || random.one_in(2)) {
        p.x = any_or_null(random, 10);
        p.weight = any_or_null(random, 10);
    }
    p.bias = any_or_null(random, 2);
    p.logits = any_or_null(random, p.coupling_given ? 10 : 2);
    p.input_weight = any_or_null(random, 2);
    p.input_mask = static_cast<uint8_t*>(any_or_null(random, 2));
    p.output_mask = static_cast<uint8_t*>(any_or_null(random, 2));
    const void*& one = p.*random.one_of(kArguments).given;
    if (one && random.one_in(16)) one = misaligned(random);
    return p;
}

namespace {

// With none of the gradients.
RoutingBackward backward_of_nothing(void* workspace) {
    return {any, any, any, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, workspace, INT64_MAX};
}

bool is_status(Status status) {
    return strcmp(status_text(status), status_text(Status(-1))) != 0;
}

Status status_of(int64_t bytes) {
    return bytes < 0 ? Status(-bytes) : Status::ok;
}

// What one hostile problem is answered. No workspace is ever large enough, so that no kernel runs.
class Interview {
   public:
    Interview(const Core& core, const RoutingProblem& problem, Random& random, std::string name, Failures& failures)
        : core_(core), p_(problem), random_(random), name_(std::move(name)), failures_(failures) {}

    // What is wrong with the problem itself; ok where that depends on what is asked of it.
    Status run() {
        const Status agreement = status_of(core_.calls.agreement.workspace(p_, {}, {}));
        const bool refused = agreement == Status::bad_size || agreement == Status::bad_option ||
                             agreement == Status::missing_pointer || agreement == Status::misaligned ||
                             agreement == Status::many_threads;
        of_problem_ = refused ? agreement : Status::ok;
        expect("agreement workspace", agreement, {Status::too_large});
        if (core_.described(p_) && refused) failures_.add(name_ + ": a bad problem is described");
        ask("forward", core_.calls.forward, {any, any, any, nullptr, 0});
        ask("backward", core_.calls.backward, wanting_anything());
        const int64_t t = random_.one_in(2) ? 1 + random_.below(3) : random_.one_of(kHostileSizes);
        const bool there = 1 <= t && t <= p_.iterations;
        ask("forward pass", core_.calls.forward_pass, {t, any, any, any, nullptr, 0}, there);
        ask("backward pass", core_.calls.backward_pass, {t, any, any, any, any, any, nullptr, 0}, there && t > 1);
        ask("last pass", core_.calls.last_pass, {any, any, any, any, wanting_anything()});
        check_places(true);
        check_places(false);
        check_query_update();
        return of_problem_;
    }

   private:
    RoutingBackward wanting_anything() {
        RoutingBackward buffers = backward_of_nothing(nullptr);
        for (const Argument& each : kArguments) buffers.*each.wanted = any_or_null(random_, 2);
        return buffers;
    }

    // For its workspace, and to run with fewer bytes than that. What runs refuses what its workspace was refused for,
    // or finds the workspace too small; a pass that is not there it refuses in any case.
    template <class Buffers>
    void ask(const std::string& what, const Call<Buffers>& call, Buffers buffers, bool there = true) {
        const int64_t bytes = call.workspace(p_, buffers, {}), too_few[] = {bytes - 1, -1, INT64_MIN};
        expect(what + " workspace", status_of(bytes), {Status::too_large, Status::no_kernel, Status::missing_pointer});
        set_workspace(buffers, any, bytes > 0 ? random_.one_of(too_few) : -1);
        const Status got = call.run(p_, buffers, {});
        if (!there) return expect(what, got, {Status::bad_option, Status::too_large});
        if (got != (bytes < 0 ? Status(-bytes) : Status::small_workspace))
            failures_.add(name_ + ", " + what + ": " + status_text(got));
    }

    // One buffer of each call that is missing or not where it must be, and a workspace that is large enough for
    // anything.
    void check_places(bool missing) {
        int64_t wrong = 0;
        const auto at = [&](int64_t place) -> void* {
            return place != wrong ? any : missing ? nullptr : misaligned(random_);
        };
        // What may be missing stands in bits.
        const unsigned normalised = p_.softmax_over_inputs ? 0 : ~0u;
        const auto spoil_one_of = [&](int64_t places, unsigned optional) {
            do {
                wrong = random_.below(places);
            } while (missing && optional >> wrong & 1);
        };
        const auto refuses = [&](const std::string& what, Status got) {
            expect((missing ? "missing in " : "misaligned in ") + what, got,
                   {missing ? Status::missing_pointer : Status::misaligned, Status::too_large});
            if (got == Status::ok) failures_.add(name_ + ", " + what + ": ok");
        };
        spoil_one_of(4, 0b0110);
        refuses("forward", core_.calls.forward.run(p_, {at(0), at(1), at(2), at(3), INT64_MAX}, {}));
        spoil_one_of(4, 0b0001 | (0b0100 & normalised));
        refuses("forward pass", core_.calls.forward_pass.run(p_, {1, at(0), at(1), at(2), at(3), INT64_MAX}, {}));
        spoil_one_of(4, 0b0100 & normalised);
        RoutingBackward backward = backward_of_nothing(at(3));
        backward.grad_output = at(0);
        backward.pre_squash = at(1);
        backward.normaliser = at(2);
        refuses("backward", core_.calls.backward.run(p_, backward, {}));
        spoil_one_of(3, 0);
        refuses("agreement", core_.calls.agreement.run(p_, {at(0), at(1), at(2), INT64_MAX}, {}));
        spoil_one_of(p_.bias ? 6 : 5, 0b100000 | (0b001100 & normalised));
        RoutingLastPass last{at(0), at(1), at(2), at(3), backward_of_nothing(at(4))};
        last.gradients.grad_bias = p_.bias ? at(5) : nullptr;
        refuses("last pass", core_.calls.last_pass.run(p_, last, {}));
        if (p_.iterations < 2) return;
        spoil_one_of(6, 0b001100 & normalised);
        refuses("backward pass",
                core_.calls.backward_pass.run(p_, {2, at(0), at(1), at(2), at(3), at(4), at(5), INT64_MAX}, {}));
    }

    void check_query_update() {
        for (int64_t t : {int64_t{1}, random_.one_of(kHostileSizes)}) {
            const QueryUpdate update = routing_query_update(p_, t);
            const bool there = 1 <= t && t <= p_.iterations && 1 <= p_.temperatures && p_.temperatures <= kTemperatures;
            if (!there && !(isnan(update.keep) && isnan(update.add)))
                failures_.add(name_ + ": query update of nothing");
        }
    }

    // One of some statuses; the problem's own one where that is bad.
    void expect(const std::string& what, Status got, std::initializer_list<Status> others) {
        bool known = got == of_problem_;
        for (Status other : others) known = known || (of_problem_ == Status::ok && got == other);
        if (!known || !is_status(got)) failures_.add(name_ + ", " + what + ": " + status_text(got));
    }

    const Core& core_;
    const RoutingProblem& p_;
    Random& random_;
    const std::string name_;
    Failures& failures_;
    Status of_problem_ = Status::ok;
};

// A problem that is right with its buffers, some of them left out at random.
class RightProblem {
   public:
    RightProblem(const Core& core, Random& random, std::string name, Failures& failures)
        : core_(core),
          random_(random),
          name_(std::move(name)),
          failures_(failures),
          p_(right_problem(random)),
          format_(kFormats[int(p_.dtype)]),
          sums_(accumulation_format(format_)),
          capsules_(p_.batch * p_.outputs * p_.output_size),
          pairs_(p_.batch * p_.inputs * p_.outputs) {
        const int64_t counts[] = {p_.batch * p_.inputs * p_.input_size,
                                  p_.weight_inputs * p_.outputs * p_.output_size * p_.input_size,
                                  pairs_ * p_.output_size,
                                  p_.outputs * p_.output_size,
                                  (p_.logits_per_sample ? p_.batch : 1) * p_.inputs * p_.outputs,
                                  p_.batch * p_.inputs};  // in the order of kArguments
        const bool votes = random.one_in(3), nobody = p_.batch == 0, weight = !votes && !(nobody && random.one_in(2));
        const bool given[] = {
            weight && !nobody, weight, votes && !nobody, random.one_in(2), p_.coupling_given || random.one_in(2),
            random.one_in(3)};
        // Gradients of all that is there; an empty batch from nothing but null pointers has empty votes.
        const bool there[] = {weight && (!nobody || random.one_in(2)), weight, !weight, given[3], given[4], given[5]};
        for (size_t n = 0; n < std::size(kArguments); ++n) {
            if (given[n] && kArguments[n].given != &RoutingProblem::votes) p_.*kArguments[n].given = input(counts[n]);
            if (there[n] && !random.one_in(4)) wanted_.*kArguments[n].wanted = output(counts[n], format_);
        }
        if (given[2]) give_votes();
        if (random.one_in(3)) p_.input_mask = mask(p_.batch * p_.inputs);
        if (random.one_in(3)) p_.output_mask = mask(p_.batch * p_.outputs);
    }

    void run() {
        const int64_t T = p_.iterations, pairs = p_.batch * p_.outputs;
        const bool over_inputs = p_.softmax_over_inputs;
        const size_t gradients = outputs_.size();
        RoutingBackward backward = wanted_;
        backward.grad_output = input(capsules_);
        backward.pre_squash = output(T * capsules_, sums_);
        backward.normaliser = over_inputs ? output(T * 2 * pairs, sums_) : nullptr;
        call("forward", core_.calls.forward, p_,
             {output(capsules_, format_), const_cast<void*>(backward.pre_squash),
              const_cast<void*>(backward.normaliser), nullptr, 0});
        call("backward", core_.calls.backward, p_, backward);
        expect_numbers("the whole op");

        outputs_.resize(gradients);
        for (const Output& each : outputs_) memset(each.buffer->data(), 0xff, size_t(each.buffer->bytes()));
        RoutingProblem unmasked = p_;
        unmasked.input_mask = unmasked.output_mask = nullptr;
        call("agreement", core_.calls.agreement, unmasked, {vectors(capsules_), output(pairs_, sums_), nullptr, 0});
        call("forward pass", core_.calls.forward_pass, p_,
             {1 + random_.below(T), vectors(capsules_), output(capsules_, sums_),
              over_inputs ? output(2 * pairs, sums_) : nullptr, nullptr, 0});
        if (T > 1) {
            call("backward pass", core_.calls.backward_pass, p_,
                 {2 + random_.below(T - 1), vectors(capsules_), vectors(capsules_), vectors(2 * pairs), vectors(pairs),
                  output(capsules_, sums_), nullptr, 0});
        }
        call("last pass", core_.calls.last_pass, p_,
             {vectors(T * capsules_), vectors(T * capsules_), vectors(T * 2 * pairs), vectors(T * pairs), wanted_});
        expect_numbers("a pass");
    }

   private:
    template <class Buffers>
    void call(const char* what, const Call<Buffers>& each, const RoutingProblem& problem, const Buffers& buffers) {
        tests::run(each, problem, buffers, name_ + ", " + what, failures_);
        for (Buffer& buffer : buffers_) check_guards(name_ + ", " + what, {&buffer}, failures_);
    }

    // Strides of axes in any order, of which some run backwards and some stand still.
    void give_votes() {
        const int64_t sizes[] = {p_.batch, p_.inputs, p_.outputs, p_.output_size};
        const bool natural = random_.one_in(2);
        int64_t count = 1, first = 0;
        bool placed[4] = {};
        for (int n = 3; n >= 0; --n) {
            int axis = natural ? n : int(random_.below(4));
            while (placed[axis]) axis = (axis + 1) % 4;
            placed[axis] = true;
            if (random_.one_in(8)) continue;  // all along it are the same
            p_.vote_strides[axis] = count;
            count *= sizes[axis];
            if (sizes[axis] < 2 || !random_.one_in(4)) continue;
            first += (sizes[axis] - 1) * p_.vote_strides[axis];
            p_.vote_strides[axis] = -p_.vote_strides[axis];
        }
        p_.weight_inputs = p_.input_size = random_.one_of(kHostileSizes);  // not used
        p_.votes = input(count) + first * format_.bytes;
    }

    uint8_t* numbers(int64_t count, const Format& format) {
        Numbers values(static_cast<size_t>(count));
        for (double& value : values) value = double(random_.below(17)) / 64;
        return buffers_.emplace_back(values, format).data();
    }
    uint8_t* input(int64_t count) { return numbers(count, format_); }
    uint8_t* vectors(int64_t count) { return numbers(count, sums_); }
    uint8_t* mask(int64_t count) {
        Buffer& buffer = buffers_.emplace_back(count);
        for (int64_t n = 0; n < count; ++n) buffer.data()[n] = !random_.one_in(4);
        return buffer.data();
    }
    uint8_t* output(int64_t count, const Format& format) {
        outputs_.push_back({&buffers_.emplace_back(count * format.bytes), &format});
        return outputs_.back().buffer->data();
    }

    // That all outputs were stored; a half type may have no number that is large enough.
    void expect_numbers(const char* what) {
        for (const Output& each : outputs_) {
            for (double number : each.buffer->numbers(*each.format)) {
                if (isnan(number)) return failures_.add(name_ + ", " + what + " left something unwritten");
            }
        }
    }

    struct Output {
        Buffer* buffer;
        const Format* format;
    };

    const Core& core_;
    Random& random_;
    const std::string name_;
    Failures& failures_;
    RoutingProblem p_;
    const Format& format_;
    const Format& sums_;
    const int64_t capsules_, pairs_;
    RoutingBackward wanted_{};
    std::list<Buffer> buffers_;
    std::vector<Output> outputs_;  // the gradients first
};

// More iterations than anybody waits for, of nothing: an answer at once, and gradients that are zeros.
void check_idle_iterations(const Core& core, Failures& failures) {
    for (const Format& format : kFormats) {
        Random random(1);
        RoutingProblem p = right_problem(random);
        p.batch = 0;
        p.iterations = int64_t{1} << 32;
        p.dtype = format.dtype;
        p.gradient = Gradient::all;
        p.coupling_given = false;
        const int64_t weights = p.weight_inputs * p.outputs * p.output_size * p.input_size;
        Buffer weight(Numbers(size_t(weights)), format), gradient(weights * format.bytes);
        p.weight = weight.data();
        RoutingBackward backward = backward_of_nothing(nullptr);
        backward.grad_weight = gradient.data();
        const auto start = std::chrono::steady_clock::now();
        run(core.calls.forward, p, {any, any, any, nullptr, 0}, "many iterations of nothing", failures);
        run(core.calls.backward, p, backward, "many iterations of nothing", failures);
        if (std::chrono::steady_clock::now() - start > std::chrono::seconds(10))
            failures.add("many iterations of nothing take a long time");
        for (double number : gradient.numbers(format)) {
            if (number != 0) return failures.add("many iterations of nothing have a gradient");
        }
    }
}

}  // namespace

Status interview(const Core& core, const RoutingProblem& problem, Random& random, const std::string& name,
                 Failures& failures) {
    return Interview(core, problem, random, name, failures).run();
}

void run_right_problem(const Core& core, Random& random, const std::string& name, Failures& failures) {
    RightProblem(core, random, name, failures).run();
}

void check_hostile(const Core& core, int structs, int runs, Failures& failures) {
    check_idle_iterations(core, failures);
    Random random(20171026);
    int good = 0;
    for (int n = 0; n < structs; ++n) {
        const RoutingProblem problem = hostile_problem(random);
        good += interview(core, problem, random, "hostile problem " + std::to_string(n), failures) == Status::ok;
    }
    if (good < structs / 8 || good > structs - structs / 8) failures.add("too few hostile problems of one kind");
    for (int n = 0; n < runs; ++n) run_right_problem(core, random, "small problem " + std::to_string(n), failures);
}

}  // namespace capsroute::tests
