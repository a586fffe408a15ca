// The kernels of the fused path as the launchers see them. Each family is compiled in a file of its own.
#pragma once

#include <type_traits>

#include "plan.h"

namespace capsroute::cuda {

struct ForwardParameters {
    Plan plan;
    RoutingForward buffers;
    int first_phase;  // three phases to an iteration, see plan.h
    int end_phase;
};

struct BackwardParameters {
    Plan plan;
    RoutingBackward buffers;
    int first_phase;  // phase 0 starts; then three phases for each t = T .. 1
    int end_phase;
};

struct LastParameters {
    Plan plan;
    RoutingBackward buffers;
};

// kernel(column tiles of an output, as a constant): what the kernels are compiled for.
template <class KernelFor>
Kernel by_output_tiles(const Plan& plan, KernelFor kernel) {
    switch (plan.output_tiles) {
        case 1: return kernel(std::integral_constant<int, 1>{});
        case 2: return kernel(std::integral_constant<int, 2>{});
        case 4: return kernel(std::integral_constant<int, 4>{});
        default: return kernel(std::integral_constant<int, 8>{});
    }
}

// The instantiation for a plan: by the column tiles of an output and, but for the last pass, by the softmax axis.
Kernel forward_kernel_for(const Plan& plan);
Kernel backward_kernel_for(const Plan& plan);
Kernel last_kernel_for(const Plan& plan);
Kernel finish_kernel();

}  // namespace capsroute::cuda
