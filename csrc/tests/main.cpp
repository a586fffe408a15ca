// Tests of the core without Python: every example in every number format, with every way to the votes on every
// instruction set that this CPU runs, against the naive computation, which is itself checked by finite differences
// first.
//
// core_tests [--expect ISA,ISA,...]   also fails if the usable instruction sets are not exactly these
#include <stdio.h>

#include <string>

#include "tests/checks.h"
#include "tests/examples.h"

using namespace capsroute;
using namespace capsroute::tests;

int main(int argc, char** argv) {
    const bool has_expectation = argc == 3 && std::string(argv[1]) == "--expect";
    if (argc != 1 && !has_expectation) {
        fprintf(stderr, "usage: core_tests [--expect ISA,ISA,...]\n");
        return 2;
    }
    Failures failures;
    for (const NamedExample& each : small_examples()) check_naive_gradients(each, failures);
    check_refusals(failures);

    check_names_of_votes(failures);

    std::vector<Kernels> kernels;
    std::string used;
    for (int isa = 0; isa < cpu_isa_count(); ++isa) {
        if (!cpu_isa_usable(isa)) continue;
        const std::string name = cpu_isa_name(isa);
        used += (used.empty() ? "" : ",") + name;
        for (int votes = 0; cpu_votes_name(votes); ++votes) kernels.push_back({name, cpu_votes_name(votes)});
    }
    size_t compared = 0;
    for (const NamedExample& each : all_examples())
        for (const Format& format : kFormats) {
            check_example(each, format, kernels, failures);
            compared += kernels.size();
        }
    for (const NamedExample& each : agreement_examples())
        for (const Format& format : kFormats) {
            check_agreement(each, format, kernels, failures);
            compared += kernels.size();
        }
    if (has_expectation && used != argv[2]) failures.add("usable are " + used + ", expected were " + argv[2]);
    if (cpu_isa_choose("none such")) failures.add("an unknown instruction set was chosen");

    for (const std::string& text : failures.texts) fprintf(stderr, "FAILED: %s\n", text.c_str());
    printf("core_tests: %zu comparisons on %s, %zu failures\n", compared, used.c_str(), failures.texts.size());
    return failures.texts.empty() && compared > 0 ? 0 : 1;
}
