// Takes numbers from a fuzzer's input, from the front; zero when it is used up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

struct Source {
    const std::uint8_t* data;
    std::size_t size;

    template <class Number>
    Number take() {
        Number value{};
        const std::size_t bytes = std::min(size, sizeof value);
        if (bytes > 0) std::memcpy(&value, data, bytes);
        data += bytes;
        size -= bytes;
        return value;
    }

    // Mostly small, sometimes at the ends of what 64 bits hold.
    std::int64_t size_of_something(std::int64_t usual) {
        const auto kind = take<std::uint8_t>();
        if (kind < 200) return kind % (usual + 1);
        if (kind < 220) return take<std::int64_t>();
        return static_cast<std::int64_t>((std::uint64_t{1} << kind % 64) - kind % 3);
    }
};
