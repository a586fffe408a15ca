// The kernels chosen when the library is loaded.
#pragma once

#include "peak.h"
#include "state.h"

namespace capsroute::cpu {

const KernelTable& kernels();
bool multiplies_pairs();  // do these kernels, and does this processor?
const PeakLoops& peak_loops();

}  // namespace capsroute::cpu
