// A libFuzzer target: what the core answers to any problem, and what its kernels touch of problems that are right.
//
// The first byte of an input says which of these, and the way to the votes; the others are the choices of the
// generators that the tests of the core have as well, or the problem itself, field by field.
#include <stdio.h>
#include <stdlib.h>

#include "tests/hostile.h"
#include "tests/prepared.h"

using namespace capsroute;
using namespace capsroute::tests;

namespace {

alignas(64) uint8_t anywhere[64];  // stands for every buffer; nothing is read from it

// Null, a place, or a place that is aligned for nothing.
void* pointer(Random& random) {
    const int64_t choice = random.below(4);
    return choice == 0 ? nullptr : anywhere + (choice == 1 ? 1 + random.below(63) : 0);
}

double real(Random& random) {
    const uint64_t bits = random.next();
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Every field is whatever 64 or 32 bits may be, but for those that C++ itself allows only two values.
RoutingProblem raw_problem(Random& random) {
    RoutingProblem p{};
    for (int64_t* size :
         {&p.batch, &p.inputs, &p.outputs, &p.input_size, &p.output_size, &p.weight_inputs, &p.iterations,
          &p.vote_strides[0], &p.vote_strides[1], &p.vote_strides[2], &p.vote_strides[3]}) {
        *size = random.one_in(2) ? random.below(64) : int64_t(random.next());
    }
    const auto number = [&] { return random.one_in(4) ? int32_t(random.next()) : int32_t(random.below(8)); };
    p.dtype = DType(number());
    p.gradient = Gradient(number());
    p.squash = Squash(number());
    p.cuda_kernel = CudaKernel(number());
    p.cuda_fusion = CudaFusion(number());
    p.temperatures = number();
    p.threads = number();
    for (bool* flag : {&p.softmax_over_inputs, &p.leaky, &p.squash_output, &p.replace_logits, &p.coupling_given,
                       &p.allow_tf32, &p.logits_per_sample}) {
        *flag = random.one_in(4);
    }
    for (double* value : {&p.eps, &p.squash_constant, &p.agreement_factor}) {
        *value = random.one_in(4) ? real(random) : 1;
    }
    for (double& inverse : p.inverse_temperature) inverse = random.one_in(16) ? real(random) : 1;
    for (const Argument& each : kArguments) p.*each.given = pointer(random);
    p.input_mask = static_cast<uint8_t*>(pointer(random));
    p.output_mask = static_cast<uint8_t*>(pointer(random));
    return p;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
    if (count == 0) return 0;
    Random random(bytes + 1, count - 1);
    Failures failures;
    cpu_votes_choose(cpu_votes_name(bytes[0] / 4 % 4));
    switch (bytes[0] % 4) {
        case 0: interview(kCpuCore, raw_problem(random), random, "raw problem", failures); break;
        case 1: interview(kCpuCore, hostile_problem(random), random, "hostile problem", failures); break;
        default: run_right_problem(kCpuCore, random, "small problem", failures);
    }
    if (failures.report() != 0) abort();
    return 0;
}
