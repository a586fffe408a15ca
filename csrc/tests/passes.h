// Routing by the passes of the core one by one. What is between them is in double precision.
#pragma once

#include "tests/checks.h"
#include "tests/prepared.h"

namespace capsroute::tests {

class Passes {
   public:
    Passes(const Example& e, const Format& format, int threads)
        : prepared(e, format, threads), e_(e), format_(accumulation_format(format)) {}

    // False, and a failure, when the core refuses.
    bool run_op(const std::string& name, Failures& failures);

    Prepared prepared;  // with the gradients
    Numbers output;

   private:
    double temperature(size_t t) const;
    Numbers with_bias(Numbers s) const;
    Buffer buffer(const Numbers& numbers) const { return Buffer(numbers, format_); }
    Buffer of_all(const std::vector<Numbers>& each) const;

    bool forward(size_t t, const std::string& name, Failures& failures);
    void step(size_t t, const std::string& name, Failures& failures);
    void set_slope(size_t t, const Numbers& grad);
    bool backward(size_t t, Numbers& of_query, const std::string& name, Failures& failures);
    bool last(const std::string& name, Failures& failures);

    const Example& e_;
    const Format& format_;
    Numbers total_;
    std::vector<Numbers> queries_, sums_, slopes_, normalisers_, means_;  // of the iterations
};

}  // namespace capsroute::tests
