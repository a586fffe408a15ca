// The kernels of one instruction set. This file is compiled once per set, with CAPSROUTE_ISA its name; it may include
// only headers whose code has internal linkage, or the linker could hand one set's instructions to another.
#include "inputs_in_lanes/backward.h"
#include "samples_in_lanes/agreement.h"
#include "samples_in_lanes/backward.h"
#include "samples_in_lanes/forward.h"
#include "samples_in_lanes/passes.h"
#include "state.h"

#define CAPSROUTE_JOIN(a, b) a##b
#define CAPSROUTE_TABLE(isa) CAPSROUTE_JOIN(kernels_, isa)

namespace capsroute::cpu {

template <class T>
static constexpr Kernels<T> kernels_of() {
    return {prepare<T>,
            forward_pass<T>,
            forward_step<T>,
            backward_start<T>,
            backward_pass<T>,
            backward_step<T>,
            last_pass<T>,
            finish_weight<T>,
            finish_logits<T>,
            finish_bias<T>,
            start_forward_pass<T>,
            finish_forward_pass<T>,
            start_backward_pass<T>,
            finish_backward_pass<T>,
            start_last_pass<T>,
            agreement_start<T>,
            agreement_pass<T>};
}

template <class T>
static constexpr KeptKernels<T> kept_kernels_of() {
    return {kept_make<T>,          kept_forward_pass<T>,  kept_forward_step<T>, kept_backward_start<T>,
            kept_backward_pass<T>, kept_backward_step<T>, kept_last_pass<T>,    kept_finish_bias<T>};
}

extern const KernelTable CAPSROUTE_TABLE(CAPSROUTE_ISA);
// Not by code that runs when the library is loaded: this processor may lack its instructions.
constinit const KernelTable CAPSROUTE_TABLE(CAPSROUTE_ISA) = {
    kernels_of<float>(), kernels_of<double>(), kept_kernels_of<float>(), kept_kernels_of<double>(), kMultipliesPairs};

}  // namespace capsroute::cpu
