// Memory for the core that shows what should not have been read or written.
#pragma once

#include <string.h>

#include <vector>

#include "tests/formats.h"
#include "tests/naive.h"

namespace capsroute::tests {

// Memory of exactly the size asked for, aligned as the core wants it, full of NaN, with a guard behind it.
class Buffer {
   public:
    explicit Buffer(int64_t bytes) : bytes_(bytes), start_(bytes + kGuard + kAlignment, kPoison) {}

    Buffer(const Numbers& numbers, const Format& format) : Buffer(int64_t(numbers.size()) * format.bytes) {
        for (size_t n = 0; n < numbers.size(); ++n) encode(numbers[n], format, data() + n * format.bytes);
    }

    uint8_t* data() {
        const uintptr_t at = reinterpret_cast<uintptr_t>(start_.data());
        return start_.data() + (kAlignment - at % kAlignment) % kAlignment;
    }
    uint8_t* data_or_null() { return bytes_ ? data() : nullptr; }
    int64_t bytes() const { return bytes_; }

    Numbers numbers(const Format& format) {
        Numbers result(bytes_ / format.bytes);
        for (size_t n = 0; n < result.size(); ++n) result[n] = decode(data() + n * format.bytes, format);
        return result;
    }
    bool guard_is_whole() {
        for (int n = 0; n < kGuard; ++n)
            if (data()[bytes_ + n] != kPoison) return false;
        return true;
    }
    bool operator==(Buffer& other) { return bytes_ == other.bytes_ && !memcmp(data(), other.data(), bytes_); }

    // NaN again in the rows whose mask is 0; the buffer holds one row for each, or nothing.
    void poison_absent(const std::vector<uint8_t>& mask) {
        for (size_t row = 0; row < mask.size(); ++row) {
            const int64_t size = bytes_ / int64_t(mask.size());
            if (!mask[row]) memset(data() + int64_t(row) * size, kPoison, size);
        }
    }

   private:
    static constexpr int kGuard = 256, kAlignment = 64;
    static constexpr uint8_t kPoison = 0xff;
    int64_t bytes_;
    std::vector<uint8_t> start_;
};

// What numbers become by rounding to the format: the naive computation starts from the same numbers as the core.
inline Numbers rounded(const Numbers& numbers, const Format& format) {
    return Buffer(numbers, format).numbers(format);
}

}  // namespace capsroute::tests
