// The multiply-adds of one instruction set at their fastest: what the kernels are compared with.
#pragma once

#include <stdint.h>

namespace capsroute::cpu {

// Each runs a loop of independent multiply-adds in registers on the calling thread and returns the operations done, two
// per multiply-add. `number` is where they start and what they come to: a compiler that knew either could leave some
// out.
struct PeakLoops {
    int64_t (*of_float)(int64_t rounds, double* number);
    int64_t (*of_double)(int64_t rounds, double* number);
};

}  // namespace capsroute::cpu
