#include "artefact.h"

#include <algorithm>
#include <cstring>

#include "../failure.h"

namespace lehrnet::native {
namespace {

// Where things stand, in bytes from the beginning.
constexpr char MAGIC[] = "LEHRNETN";
constexpr std::size_t VERSION_AT = 8, ORDER_AT = 12, TOTAL_AT = 16, CONFIG_AT = 24, COUNT_AT = 60, HEADER = 64, ENTRY = 24;
constexpr std::uint32_t VERSION = 1, BYTE_ORDER_MARK = 0x01020304;
constexpr std::size_t ALIGNMENT = 64;
constexpr std::uint32_t MOST_JOINTS = 1024, WIDEST = 512, DEEPEST = 16, MOST_TENSORS = 1 << 16;

std::string words(const Sizes& sizes) {
    std::string text;
    for (const std::uint32_t size : {sizes.out, sizes.in, sizes.height, sizes.width}) {
        text += (text.empty() ? "" : "x") + std::to_string(size);
    }
    return text;
}

bool same(const Sizes& a, const Sizes& b) {
    return a.out == b.out && a.in == b.in && a.height == b.height && a.width == b.width;
}

}  // namespace

Artefact::Artefact(const unsigned char* bytes, std::size_t size, std::string name)
    : bytes_(bytes), size_(size), name_(std::move(name)) {
    if (size < HEADER || std::memcmp(bytes, MAGIC, sizeof MAGIC - 1) != 0) {
        fail(LEHRNET_BAD_BUNDLE, name_, " is no packed network: it does not begin with ", MAGIC, "; export it again");
    }
    if (word(VERSION_AT) != VERSION) {
        fail(LEHRNET_UNKNOWN_FORMAT, name_, " is packed in version ", word(VERSION_AT), ", this library reads ", VERSION,
             "; use the lehrnet that exported it, or export it again");
    }
    if (word(ORDER_AT) != BYTE_ORDER_MARK) {
        fail(LEHRNET_BAD_BUNDLE, name_, " has its bytes in another order than this processor's, or is damaged");
    }
    if (long_word(TOTAL_AT) != size) {
        fail(LEHRNET_BAD_BUNDLE, name_, " says that it has ", long_word(TOTAL_AT), " bytes, but it has ", size,
             "; copy it again");
    }
    if (reinterpret_cast<std::uintptr_t>(bytes) % alignof(float) != 0) {
        fail(LEHRNET_INTERNAL, name_, " lies at an address that is no float's");
    }
    count_ = word(COUNT_AT);
    if (count_ > MOST_TENSORS || size - HEADER < std::size_t{count_} * ENTRY) {
        fail(LEHRNET_BAD_BUNDLE, name_, " says that it has ", count_, " tensors, which ", size, " bytes do not hold");
    }
    end_ = HEADER + std::size_t{count_} * ENTRY;
    read_config();
}

void Artefact::read_config() {
    std::size_t at = CONFIG_AT;
    const auto number = [&](const char* what, std::uint32_t least, std::uint32_t most) {
        const std::uint32_t value = word(at);
        at += sizeof value;
        if (value < least || value > most) {
            fail(LEHRNET_BAD_BUNDLE, name_, ": ", what, " is ", value, ", expected ", least, " to ", most, "; export it again");
        }
        return static_cast<int>(value);
    };
    config_.joints = number("joints", 1, MOST_JOINTS);
    config_.width = number("width", 1, WIDEST);
    config_.units = number("units", 1, DEEPEST);
    for (int& modules : config_.modules) modules = number("modules", 1, DEEPEST);
    config_.light_units = number("light_units", 0, 1) != 0;
    config_.light_convs = number("light_convs", 0, 1) != 0;
    config_.attention = number("attention", 0, 1) != 0;
    if (config_.width % 4) {
        fail(LEHRNET_BAD_BUNDLE, name_, ": width is ", config_.width, ", expected a multiple of 4; export it again");
    }
    if (config_.attention && !config_.light_units) {
        fail(LEHRNET_BAD_BUNDLE, name_, ": it has attention without light_units; export it again");
    }
}

const float* Artefact::take(const Sizes& sizes) {
    if (taken_ == count_) {
        fail(LEHRNET_BAD_BUNDLE, name_, " has ", count_, " tensors, and its network takes more; export it again");
    }
    const std::size_t entry = HEADER + taken_ * ENTRY;
    const Sizes found = {word(entry), word(entry + 4), word(entry + 8), word(entry + 12)};
    if (!same(found, sizes)) {
        fail(LEHRNET_BAD_BUNDLE, name_, ": tensor ", taken_, " is ", words(found), ", expected ", words(sizes),
             "; export it again");
    }
    const std::uint64_t offset = long_word(entry + 16), bytes = sizes.count() * sizeof(float);
    // Each behind the one before: packing then takes no more memory than the file's size lets one expect.
    if (offset % ALIGNMENT != 0 || offset < end_ || offset > size_ || bytes > size_ - offset) {
        fail(LEHRNET_BAD_BUNDLE, name_, ": tensor ", taken_, " of ", bytes, " bytes begins at ", offset, ", expected a multiple of ",
             ALIGNMENT, " from ", end_, " on and all of it within ", size_, "; copy it again");
    }
    end_ = offset + bytes;
    ++taken_;
    return reinterpret_cast<const float*>(bytes_ + offset);
}

void Artefact::finish() const {
    if (taken_ != count_) {
        fail(LEHRNET_BAD_BUNDLE, name_, " has ", count_, " tensors, but its network takes ", taken_, "; export it again");
    }
}

std::uint32_t Artefact::word(std::size_t at) const {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes_ + at, sizeof value);
    return value;
}

std::uint64_t Artefact::long_word(std::size_t at) const {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes_ + at, sizeof value);
    return value;
}

}  // namespace lehrnet::native
