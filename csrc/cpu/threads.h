// How many threads a call may really have.
#pragma once

namespace capsroute::cpu {

// `wanted`, or fewer where the system starts no more of them; 1 in the thread that a fork has left alone.
int startable_threads(int wanted);

}  // namespace capsroute::cpu
