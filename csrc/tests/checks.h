// What the driver checks. Each check adds a sentence for everything that is wrong.
#pragma once

#include <string>
#include <vector>

#include "tests/examples.h"
#include "tests/formats.h"

namespace capsroute::tests {

struct Failures {
    std::vector<std::string> texts;
    void add(const std::string& text) { texts.push_back(text); }
};

// The naive gradients against central differences of the naive forward.
void check_naive_gradients(const NamedExample& named, Failures& failures);

// The core against the naive computation: values, the same bits for 1 and 3 threads, nothing written past the ends.
void check_example(const NamedExample& named, const Format& format, const std::string& isa, Failures& failures);

// Problems that the core must answer with a status.
void check_refusals(Failures& failures);

}  // namespace capsroute::tests
