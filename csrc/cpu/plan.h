// How a problem is divided into work items and laid out in its workspace.
#pragma once

#include "../shared/problem.h"
#include "state.h"

namespace capsroute::cpu {

enum class Direction { forward, backward };

// Numbers of the accumulation type that fill a pack, and whether the tensors are stored in half of that type's bytes.
inline int64_t lanes_of(const RoutingProblem& problem) {
    return kTileBytes / (problem.dtype == DType::float64 ? 8 : 4);
}
inline bool is_half(DType dtype) {
    return dtype == DType::bfloat16 || dtype == DType::float16;
}

// Which gradients a backward call wants; for forward all are false.
struct Wanted {
    bool weight = false;
    bool logits = false;
    bool input_weight = false;
};

// Fills `state`; with a null workspace its pointers mean nothing and only the size counts.
// Returns the bytes used, or a negative Status. A pass alone keeps no votes for the next.
template <class T>
int64_t plan(const RoutingProblem& problem, Direction direction, Wanted wanted, void* workspace, State<T>& state,
             bool pass_alone = false);

}  // namespace capsroute::cpu
