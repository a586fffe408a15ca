// What the drivers check. Each check adds a sentence for everything that is wrong.
#pragma once

#include <string>
#include <vector>

#include "tests/examples.h"
#include "tests/failures.h"
#include "tests/formats.h"

namespace capsroute::tests {

// The example with its numbers rounded to a format.
Example rounded(Example example, const Format& format);

double largest(const Numbers& numbers);

// NaN counts as an infinite error.
void compare(const std::string& what, const Numbers& got, const Numbers& expected, double tolerance,
             Failures& failures);

// The naive gradients against central differences of the naive forward.
void check_naive_gradients(const NamedExample& named, Failures& failures);

// What is chosen for a call, by name: the instruction set and the way to the votes.
struct Kernels {
    std::string isa, votes;
};

// The core against the naive computation, with each of these kernels: the way to the votes that was asked for, values,
// the same bits for 1 and 3 threads, nothing written past the ends. First the whole op, then, once for each
// instruction set, its passes one by one with naive steps between them.
void check_example(const NamedExample& named, const Format& format, const std::vector<Kernels>& all,
                   Failures& failures);

// The same for the products of the votes with a vector of each sample and output.
void check_agreement(const NamedExample& named, const Format& format, const std::vector<Kernels>& all,
                     Failures& failures);

// How the query of an iteration follows from the one before, and what there is none for.
void check_query_updates(Failures& failures);

// The names of the ways to the votes, and that nothing changes when another one is asked for.
void check_names_of_votes(Failures& failures);

}  // namespace capsroute::tests
