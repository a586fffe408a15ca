// The arguments of routing that have gradients, by the names that they have in an example, in what the naive
// computation answers, in a problem, and among the buffers of its backward.
#pragma once

#include "tests/naive.h"

namespace capsroute::tests {

struct Argument {
    const char* name;
    Numbers Example::* numbers;
    Numbers Answer::* gradient;
    const void* RoutingProblem::* given;
    void* RoutingBackward::* wanted;
};

inline constexpr Argument kArguments[] = {
    {"x", &Example::x, &Answer::x, &RoutingProblem::x, &RoutingBackward::grad_x},
    {"weight", &Example::weight, &Answer::weight, &RoutingProblem::weight, &RoutingBackward::grad_weight},
    {"votes", &Example::votes, &Answer::votes, &RoutingProblem::votes, &RoutingBackward::grad_votes},
    {"bias", &Example::bias, &Answer::bias, &RoutingProblem::bias, &RoutingBackward::grad_bias},
    {"logits", &Example::logits, &Answer::logits, &RoutingProblem::logits, &RoutingBackward::grad_logits},
    {"input weight", &Example::input_weight, &Answer::input_weight, &RoutingProblem::input_weight,
     &RoutingBackward::grad_input_weight},
};

}  // namespace capsroute::tests
