#include "artefact.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "../failure.h"

namespace lehrnet::native {
namespace {

// Where things stand, in bytes from the beginning.
constexpr char MAGIC[] = "LEHRNETN";
constexpr std::size_t VERSION_AT = 8, ORDER_AT = 12, TOTAL_AT = 16, CONFIG_AT = 24, COUNT_AT = 60, HEADER = 64, TYPE_IN_ENTRY = 24;
constexpr std::size_t ENTRIES[] = {24, 32};  // by version
constexpr std::uint32_t FLOATS_ONLY = 1, NEWEST = 2, BYTE_ORDER_MARK = 0x01020304;
constexpr std::uint32_t FLOAT = 0, BYTE = 1;  // types of tensors
constexpr const char* TYPES[] = {"floats", "bytes"};
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
    if (word(VERSION_AT) < FLOATS_ONLY || word(VERSION_AT) > NEWEST) {
        fail(LEHRNET_UNKNOWN_FORMAT, name_, " is packed in version ", word(VERSION_AT), ", this library reads ", FLOATS_ONLY, " to ",
             NEWEST, "; use the lehrnet that exported it, or export it again");
    }
    entry_size_ = ENTRIES[word(VERSION_AT) - FLOATS_ONLY];
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
    if (count_ > MOST_TENSORS || (size - HEADER) / entry_size_ < count_) {
        fail(LEHRNET_BAD_BUNDLE, name_, " says that it has ", count_, " tensors, which ", size, " bytes do not hold");
    }
    end_ = HEADER + count_ * entry_size_;
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

const float* Artefact::take(const Sizes& sizes) { return reinterpret_cast<const float*>(take(sizes, FLOAT)); }

bool Artefact::bytes_next() const { return taken_ < count_ && type_at(HEADER + taken_ * entry_size_) == BYTE; }

const std::int8_t* Artefact::take_bytes(const Sizes& sizes) {
    const auto* const tensor = reinterpret_cast<const std::int8_t*>(take(sizes, BYTE));
    if (std::find(tensor, tensor + sizes.count(), INT8_MIN) != tensor + sizes.count()) {
        fail(LEHRNET_BAD_BUNDLE, name_, ": tensor ", taken_ - 1, " has a weight of -128, expected -127 to 127; export it again");
    }
    return tensor;
}

const float* Artefact::take_steps(std::uint32_t count) {
    const float* const steps = take({count});
    for (std::uint32_t i = 0; i < count; ++i) {
        if (steps[i] >= std::numeric_limits<float>::min() && std::isfinite(steps[i])) continue;
        fail(LEHRNET_BAD_BUNDLE, name_, ": tensor ", taken_ - 1, " has a step of ", steps[i], ", expected a number above 0; export it again");
    }
    return steps;
}

std::uint32_t Artefact::type_at(std::size_t entry) const { return entry_size_ > TYPE_IN_ENTRY ? word(entry + TYPE_IN_ENTRY) : FLOAT; }

const unsigned char* Artefact::take(const Sizes& sizes, std::uint32_t type) {
    if (taken_ == count_) {
        fail(LEHRNET_BAD_BUNDLE, name_, " has ", count_, " tensors, and its network takes more; export it again");
    }
    const std::size_t entry = HEADER + taken_ * entry_size_;
    const Sizes found = {word(entry), word(entry + 4), word(entry + 8), word(entry + 12)};
    if (!same(found, sizes)) {
        fail(LEHRNET_BAD_BUNDLE, name_, ": tensor ", taken_, " is ", words(found), ", expected ", words(sizes),
             "; export it again");
    }
    if (type_at(entry) != type) {
        fail(LEHRNET_BAD_BUNDLE, name_, ": tensor ", taken_, " is of type ", type_at(entry), ", expected ", type, ", ", TYPES[type],
             "; export it again");
    }
    const std::uint64_t offset = long_word(entry + 16), bytes = sizes.count() * (type == BYTE ? 1 : sizeof(float));
    // Each behind the one before: packing then takes no more memory than the file's size lets one expect.
    if (offset % ALIGNMENT != 0 || offset < end_ || offset > size_ || bytes > size_ - offset) {
        fail(LEHRNET_BAD_BUNDLE, name_, ": tensor ", taken_, " of ", bytes, " bytes begins at ", offset, ", expected a multiple of ",
             ALIGNMENT, " from ", end_, " on and all of it within ", size_, "; copy it again");
    }
    end_ = offset + bytes;
    ++taken_;
    return bytes_ + offset;
}

void Artefact::finish() const {
    if (taken_ != count_) {
        fail(LEHRNET_BAD_BUNDLE, name_, " has ", count_, " tensors, but its network takes ", taken_, "; export it again");
    }
}

void Artefact::refuse(const char* why) const {
    fail(LEHRNET_BAD_BUNDLE, name_, ": tensor ", std::max(taken_, 1u) - 1, " ", why, "; export it again");
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
