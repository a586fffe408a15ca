// The kernels chosen when the library is loaded.
#pragma once

#include "state.h"

namespace capsroute::cpu {

const KernelTable& kernels();

}  // namespace capsroute::cpu
