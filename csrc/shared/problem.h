// What every backend needs to know of a problem before it divides the work: whether it can be, and how much memory.
#pragma once

#include <initializer_list>

#include "../capsroute.h"

namespace capsroute {

// ok, or what is wrong with sizes, options or pointers.
Status check(const RoutingProblem& problem);
Status check(const RoutingProblem& problem, const RoutingForward& buffers);
Status check(const RoutingProblem& problem, const RoutingBackward& buffers);
Status check(const RoutingProblem& problem, const RoutingAgreement& buffers);
Status check(const RoutingProblem& problem, const RoutingForwardPass& buffers);
Status check(const RoutingProblem& problem, const RoutingBackwardPass& buffers);
Status check(const RoutingProblem& problem, const RoutingLastPass& buffers);

// The same problem, with one iteration where the batch is empty: any number of them comes to the same, which is
// nothing, and going through a huge number would take a long time.
RoutingProblem without_idle_iterations(RoutingProblem problem);

// Of the problem and of which gradients are asked for, before there is a workspace.
Status check_wanted(const RoutingProblem& problem, const RoutingBackward& buffers);

inline int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// Hands out aligned pieces of a block of memory, or only counts them when there is none.
class Arena {
   public:
    explicit Arena(void* memory, int64_t alignment = 64) : memory_(static_cast<char*>(memory)), alignment_(alignment) {}

    // A piece for the product of `sizes` elements; null when it is not needed.
    template <class T>
    T* take(bool needed, std::initializer_list<int64_t> sizes) {
        return needed ? static_cast<T*>(take_bytes(sizes, int64_t(sizeof(T)))) : nullptr;
    }

    // Of all pieces, or a negative Status.
    int64_t bytes() const { return overflow_ ? -int64_t(Status::too_large) : used_; }

   private:
    void* take_bytes(std::initializer_list<int64_t> sizes, int64_t element);

    char* memory_;
    int64_t alignment_;
    int64_t used_ = 0;
    bool overflow_ = false;
};

}  // namespace capsroute
