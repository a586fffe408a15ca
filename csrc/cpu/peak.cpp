// The peak loops on several threads at once.
#include "peak.h"

#include "dispatch.h"
#include "threads.h"

namespace capsroute {

int64_t cpu_multiply_adds(int64_t rounds, int threads, bool float64) {
    if (rounds < 1 || threads < 1) return 0;
    const auto loop = float64 ? cpu::peak_loops().of_double : cpu::peak_loops().of_float;
    int64_t operations = 0;
#if defined(_OPENMP)
#pragma omp parallel num_threads(cpu::startable_threads(threads)) reduction(+ : operations)
#endif
    {
        double number = 0;
        operations += loop(rounds, &number);
    }
    return operations;
}

}  // namespace capsroute
