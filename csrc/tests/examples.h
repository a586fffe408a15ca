// The problems that the driver routes: every option at least once, sizes at and around the edges of tiles.
#pragma once

#include <string>
#include <vector>

#include "tests/naive.h"

namespace capsroute::tests {

struct NamedExample {
    std::string name;
    Example example;
    bool divided = false;  // must take several waves of samples and several chunks of inputs where votes are kept
};

// All sets of options in a small size, for the check of the naive computation itself by finite differences.
std::vector<NamedExample> small_examples();

// Those, the same options in larger sizes and in sizes that are divided, and some extreme ones.
std::vector<NamedExample> all_examples();

// For the products of votes with given vectors, which options and masks do not change: none has masks.
std::vector<NamedExample> agreement_examples();

}  // namespace capsroute::tests
