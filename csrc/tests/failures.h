// What the drivers find wrong, a sentence each.
#pragma once

#include <stdio.h>

#include <string>
#include <vector>

namespace capsroute::tests {

struct Failures {
    std::vector<std::string> texts;

    void add(const std::string& text) { texts.push_back(text); }

    // Prints them; the exit status of a driver.
    int report() const {
        for (const std::string& text : texts) fprintf(stderr, "FAILED: %s\n", text.c_str());
        return texts.empty() ? 0 : 1;
    }
};

}  // namespace capsroute::tests
