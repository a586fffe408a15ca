// Tests of the core without Python: every example in every number format, with every way to the votes on every
// instruction set that this CPU runs, against the naive computation, which is itself checked by finite differences
// first.
//
// core_tests [--few] [--expect ISA,ISA,...]
//     --few      each example in one format, the formats by turns: for processors that are emulated
//     --expect   also fails if the usable instruction sets are not exactly these
#include <stdio.h>

#include <iterator>
#include <string>

#include "tests/checks.h"
#include "tests/cpu_core.h"
#include "tests/examples.h"

using namespace capsroute;
using namespace capsroute::tests;

int main(int argc, char** argv) {
    bool few = false;
    std::string expected;
    for (int n = 1; n < argc; ++n) {
        const std::string argument = argv[n];
        if (argument == "--few") {
            few = true;
        } else if (argument == "--expect" && n + 1 < argc) {
            expected = argv[++n];
        } else {
            fprintf(stderr, "usage: core_tests [--few] [--expect ISA,ISA,...]\n");
            return 2;
        }
    }
    Failures failures;
    for (const NamedExample& each : small_examples()) check_naive_gradients(each, failures);
    check_refusals(failures);
    check_refusals_of_passes(failures);
    check_query_updates(failures);
    check_names_of_votes(failures);
    for (int votes = 0; cpu_votes_name(votes); ++votes) {
        cpu_votes_choose(cpu_votes_name(votes));
        check_hostile(kCpuCore, 5000, 50, failures);
    }
    cpu_votes_choose("automatic");

    std::vector<Kernels> kernels;
    std::string used;
    for (int isa = 0; isa < cpu_isa_count(); ++isa) {
        if (!cpu_isa_usable(isa)) continue;
        const std::string name = cpu_isa_name(isa);
        used += (used.empty() ? "" : ",") + name;
        for (int votes = 0; cpu_votes_name(votes); ++votes) kernels.push_back({name, cpu_votes_name(votes)});
    }
    size_t compared = 0;
    const auto check_all = [&](const std::vector<NamedExample>& examples, auto check) {
        size_t number = 0;
        for (const NamedExample& each : examples) {
            size_t of_format = 0;
            for (const Format& format : kFormats) {
                const bool its_turn = of_format++ == number % std::size(kFormats);
                if (few && !its_turn) continue;
                check(each, format, kernels, failures);
                compared += kernels.size();
            }
            ++number;
        }
    };
    check_all(all_examples(), check_example);
    check_all(agreement_examples(), check_agreement);
    check_all(all_examples(), check_passes);
    if (!expected.empty() && used != expected) failures.add("usable are " + used + ", expected were " + expected);
    if (cpu_isa_choose("none such") || cpu_isa_choose(nullptr)) failures.add("an unknown instruction set was chosen");
    if (cpu_multiply_adds(0, 1, false) || cpu_multiply_adds(1, 0, true))
        failures.add("nothing was multiplied and added");

    for (const std::string& text : failures.texts) fprintf(stderr, "FAILED: %s\n", text.c_str());
    printf("core_tests: %zu comparisons on %s, %zu failures\n", compared, used.c_str(), failures.texts.size());
    return failures.texts.empty() && compared > 0 ? 0 : 1;
}
