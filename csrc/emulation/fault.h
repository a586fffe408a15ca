// What happens when a kernel breaks a rule: the launch ends at once, and one line says why.
#pragma once

namespace capsroute::emulation {

// Ends the launch. The text gets the kernel, the block and the running thread in front.
[[noreturn, gnu::format(printf, 1, 2), gnu::cold]] void fault(const char* format, ...);

// Ends the launch because no thread can go on: says who waits where.
[[noreturn, gnu::cold]] void fault_deadlock();

// Of the last launch that broke a rule.
const char* fault_text();

}  // namespace capsroute::emulation
