// Tests of the emulation: kernels that are right run in every order of the threads, and every rule that a kernel can
// break is broken once and seen to be reported. And tests of what surrounds the emulated CUDA kernels.
//
// emulation_tests [--times]   with --times also prints what a rendezvous costs
#include <stdio.h>
#include <string.h>

#include "tests/emulation/programs.h"

using namespace capsroute::tests;

int main(int argc, char** argv) {
    const bool times = argc == 2 && !strcmp(argv[1], "--times");
    if (argc != 1 && !times) {
        fprintf(stderr, "usage: emulation_tests [--times]\n");
        return 2;
    }
    Failures failures;
    check_programs(failures);
    check_rules(failures);
    check_limits(failures);
    check_mma(failures);
    check_numbers(failures);
    check_plans(failures);
    check_hostile_problems(failures);
    const int status = failures.report();

    const capsroute::emulation::Counters counters = capsroute::emulation::counters();
    printf("emulation_tests: %lld launches of %lld threads, %lld faults, %zu failures\n", (long long)counters.launches,
           (long long)counters.threads, (long long)counters.faults, failures.texts.size());
    if (times) print_times();
    return status;
}
