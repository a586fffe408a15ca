#include "warp.h"

namespace capsroute::emulation {
namespace {

void perform_any(void* const* operands) {
    bool any = false;
    for (int lane = 0; lane < kWarp; ++lane) any |= *static_cast<const bool*>(operands[lane]);
    for (int lane = 0; lane < kWarp; ++lane) *static_cast<bool*>(operands[lane]) = any;
}

}  // namespace

bool any_in_warp(bool condition) {
    meet_in_warp(Activity::any_in_warp, &condition, perform_any);
    return condition;
}

}  // namespace capsroute::emulation
