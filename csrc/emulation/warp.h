// What the lanes of a warp do together.
#pragma once

#include <stdint.h>

#include <type_traits>

#include "machine.h"

namespace capsroute::emulation {

template <class T>
struct Shuffle {
    T value;
    int source;  // lane
    T result;
};

template <class T>
void perform_shuffle(void* const* operands) {
    for (int lane = 0; lane < kWarp; ++lane) {
        Shuffle<T>& own = *static_cast<Shuffle<T>*>(operands[lane]);
        own.result = static_cast<const Shuffle<T>*>(operands[own.source])->value;
    }
}

// Lanes count modulo 32, as they do on hardware.
template <class T>
T shuffle(Activity activity, T value, int source) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
    Shuffle<T> own{value, source & (kWarp - 1), {}};
    meet_in_warp(activity, &own, perform_shuffle<T>);
    return own.result;
}

bool any_in_warp(bool condition);

// c += a b, see mma.cpp.
void mma_m16n8k8_tf32(float (&c)[4], const float (&a)[4], const float (&b)[2]);

}  // namespace capsroute::emulation
