// What CapsrouteCuda.cmake lets an nvcc compile and link before it takes it: all that the kernels include, and a launch.
#include "cuda/device.cuh"

__global__ void nothing() {}

int main() {
    nothing<<<1, 1>>>();
    return 0;
}
