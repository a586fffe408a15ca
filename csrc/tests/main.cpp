// Tests of the core without Python: every example with every way to the votes on every instruction set that this CPU
// runs, against the naive computation, which is itself checked by finite differences first.
//
// core_tests [--all] [--expect ISA,ISA,...]
//     --all      each example in every number format, and many times as many hostile problems; else each in one, the
//                formats by turns, and those of several waves, which take long, on the instruction sets by turns
//     --expect   also fails if the usable instruction sets are not exactly these
#include <stdio.h>

#include <iterator>
#include <string>

#include "tests/checks.h"
#include "tests/hostile.h"
#include "tests/prepared.h"

using namespace capsroute;
using namespace capsroute::tests;

int main(int argc, char** argv) {
    bool all = false;
    std::string expected;
    for (int n = 1; n < argc; ++n) {
        const std::string argument = argv[n];
        if (argument == "--all") {
            all = true;
        } else if (argument == "--expect" && n + 1 < argc) {
            expected = argv[++n];
        } else {
            fprintf(stderr, "usage: core_tests [--all] [--expect ISA,ISA,...]\n");
            return 2;
        }
    }
    Failures failures;
    for (const NamedExample& each : small_examples()) check_naive_gradients(each, failures);
    check_query_updates(failures);
    check_names_of_votes(failures);
    for (int votes = 0; cpu_votes_name(votes); ++votes) {
        cpu_votes_choose(cpu_votes_name(votes));
        check_refusals(kCpuCore, failures);
        check_hostile(kCpuCore, all ? 5000 : 1000, all ? 50 : 20, failures);
    }
    cpu_votes_choose("automatic");

    std::vector<std::vector<Kernels>> of_isa;
    std::vector<Kernels> kernels;
    std::string used;
    for (int isa = 0; isa < cpu_isa_count(); ++isa) {
        if (!cpu_isa_usable(isa)) continue;
        const std::string name = cpu_isa_name(isa);
        used += (used.empty() ? "" : ",") + name;
        of_isa.emplace_back();
        for (int votes = 0; cpu_votes_name(votes); ++votes) of_isa.back().push_back({name, cpu_votes_name(votes)});
        kernels.insert(kernels.end(), of_isa.back().begin(), of_isa.back().end());
    }
    size_t compared = 0;
    const auto check = [&](const std::vector<NamedExample>& examples, auto check_one) {
        for (size_t n = 0; n < examples.size(); ++n) {
            for (size_t format = 0; format < std::size(kFormats); ++format) {
                if (!all && format != n % std::size(kFormats)) continue;
                const bool by_turns = !all && examples[n].divided;
                const std::vector<Kernels>& chosen = by_turns ? of_isa[n % of_isa.size()] : kernels;
                check_one(examples[n], kFormats[format], chosen, failures);
                compared += chosen.size();
            }
        }
    };
    check(all_examples(), check_example);
    check(agreement_examples(), check_agreement);
    if (!expected.empty() && used != expected) failures.add("usable are " + used + ", expected were " + expected);
    if (cpu_isa_choose("none such") || cpu_isa_choose(nullptr)) failures.add("an unknown instruction set was chosen");
    if (cpu_multiply_adds(0, 1, false) || cpu_multiply_adds(1, 0, true))
        failures.add("nothing was multiplied and added");

    const int status = failures.report();
    printf("core_tests: %zu comparisons on %s, %zu failures\n", compared, used.c_str(), failures.texts.size());
    return compared > 0 ? status : 1;
}
