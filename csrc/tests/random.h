// Choices for tests: at random but always the same, or as the bytes say that a fuzzer has made.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace capsroute::tests {

class Random {
   public:
    explicit Random(uint64_t seed) : state_(seed) {}
    // From the bytes while there are any.
    Random(const uint8_t* bytes, size_t count) : bytes_(bytes), left_(count) {}

    uint64_t next() { return left_ > 0 ? take(8) : mixed(); }
    int64_t below(int64_t count) {
        const uint64_t value = left_ > 0 ? take(count <= 256 ? 1 : 8) : mixed();
        return int64_t(value % uint64_t(count));
    }
    bool one_in(int64_t count) { return below(count) == 0; }
    template <class T, size_t kCount>
    T one_of(const T (&values)[kCount]) {
        return values[below(kCount)];
    }

   private:
    // SplitMix64 (Steele, Lea and Flood, 2014).
    uint64_t mixed() {
        uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
    // So many bytes, or what is left of them.
    uint64_t take(size_t count) {
        uint64_t value = 0;
        for (; count > 0 && left_ > 0; --count, --left_) value = value << 8 | *bytes_++;
        return value;
    }

    uint64_t state_ = 0;
    const uint8_t* bytes_ = nullptr;
    size_t left_ = 0;
};

}  // namespace capsroute::tests
