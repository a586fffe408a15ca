// The kernels chosen when the library is loaded.
#pragma once

#include "peak.h"
#include "state.h"

namespace capsroute::cpu {

const KernelTable& kernels();
const PeakLoops& peak_loops();

}  // namespace capsroute::cpu
