// The architectures of the build, which CMake passes as a list of numbers: those that nvcc compiled for, or those that
// can be emulated.
#include "../capsroute.h"

namespace capsroute {

namespace {

constexpr int kArchs[] = {CAPSROUTE_CUDA_ARCHS_BUILT};

}  // namespace

int cuda_arch_count() {
    return int(sizeof(kArchs) / sizeof(kArchs[0]));
}

int cuda_arch(int index) {
    return 0 <= index && index < cuda_arch_count() ? kArchs[index] : 0;
}

}  // namespace capsroute
