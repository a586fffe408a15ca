// Memory for the core that shows what should not have been read or written.
#pragma once

#include <string.h>

#include <utility>
#include <vector>

#include "tests/formats.h"
#include "tests/naive.h"

#if defined(__SANITIZE_ADDRESS__)
#define CAPSROUTE_TESTS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CAPSROUTE_TESTS_ASAN 1
#endif
#endif
#if defined(CAPSROUTE_TESTS_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace capsroute::tests {

// Memory of exactly the size asked for, aligned as the core wants it, full of NaN, with guards around it. Where
// AddressSanitizer is built in, it reports who as much as reads them.
class Buffer {
   public:
    explicit Buffer(int64_t bytes) : bytes_(bytes), start_(kGuard + bytes + kGuard + kAlignment, kPoison) {
        guard(true);
    }
    ~Buffer() { guard(false); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    Buffer(const Numbers& numbers, const Format& format) : Buffer(int64_t(numbers.size()) * format.bytes) {
        for (size_t n = 0; n < numbers.size(); ++n) encode(numbers[n], format, data() + n * format.bytes);
    }

    const uint8_t* data() const {
        const uint8_t* const first = start_.data() + kGuard;
        return first + (kAlignment - reinterpret_cast<uintptr_t>(first) % kAlignment) % kAlignment;
    }
    uint8_t* data() { return const_cast<uint8_t*>(std::as_const(*this).data()); }
    uint8_t* data_or_null() { return bytes_ ? data() : nullptr; }
    int64_t bytes() const { return bytes_; }

    Numbers numbers(const Format& format) {
        Numbers result(bytes_ / format.bytes);
        for (size_t n = 0; n < result.size(); ++n) result[n] = decode(data() + n * format.bytes, format);
        return result;
    }
    bool guard_is_whole() {
        guard(false);
        bool whole = true;
        for (int n = 1; n <= kGuard; ++n) whole = whole && data()[-n] == kPoison && data()[bytes_ + n - 1] == kPoison;
        guard(true);
        return whole;
    }
    bool operator==(const Buffer& other) const {
        return bytes_ == other.bytes_ && !memcmp(data(), other.data(), size_t(bytes_));
    }

    // NaN again in the rows whose mask is 0; the buffer holds one row for each, or nothing.
    void poison_absent(const std::vector<uint8_t>& mask) {
        for (size_t row = 0; row < mask.size(); ++row) {
            const int64_t size = bytes_ / int64_t(mask.size());
            if (!mask[row]) memset(data() + int64_t(row) * size, kPoison, size);
        }
    }

   private:
    // Whether AddressSanitizer reports all use of what is before and behind.
    void guard([[maybe_unused]] bool closed) {
#if defined(CAPSROUTE_TESTS_ASAN)
        const auto set = closed ? __asan_poison_memory_region : __asan_unpoison_memory_region;
        set(data() - kGuard, kGuard);
        set(data() + bytes_, kGuard);
#endif
    }

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
