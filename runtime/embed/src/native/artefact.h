// The packed artefacts `native_fp32` and `native_int8` (docs/native-format.md): a network's config, its tensors in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace lehrnet::native {

// lehrnet/model/config.py has the same fields and the same limits.
struct Config {
    int joints, width, units, modules[3];
    bool light_units, light_convs, attention;

    int channels(int branch) const { return width << branch; }
};

// A tensor's sizes as PyTorch has them: (out, in, height, width), 1 where it has fewer.
struct Sizes {
    std::uint32_t out, in = 1, height = 1, width = 1;

    // Every size is at most 2^16 where it was compared with what the network takes, so that this cannot wrap.
    std::uint64_t count() const { return std::uint64_t{out} * in * height * width; }
};

// A look into bytes that outlive it. Failure (LEHRNET_BAD_BUNDLE) says what is wrong with them.
class Artefact {
public:
    // `name` stands in errors.
    Artefact(const unsigned char* bytes, std::size_t size, std::string name);

    const Config& config() const { return config_; }
    // The next tensor, which must be of floats and have these sizes.
    const float* take(const Sizes& sizes);
    // Whether the next tensor is of bytes, and takes it: from -127 to 127.
    bool bytes_next() const;
    const std::int8_t* take_bytes(const Sizes& sizes);
    // The next tensor, of one float above 0 for each of `count` maps: what a step of their bytes is worth.
    const float* take_steps(std::uint32_t count);
    // After the last.
    void finish() const;
    // Says of the tensor that was taken last, or where none was of the next, what is wrong with it.
    [[noreturn]] void refuse(const char* why) const;

private:
    std::uint32_t word(std::size_t at) const;
    std::uint64_t long_word(std::size_t at) const;
    void read_config();
    std::uint32_t type_at(std::size_t entry) const;
    const unsigned char* take(const Sizes& sizes, std::uint32_t type);

    const unsigned char* bytes_;
    std::size_t size_;
    std::string name_;
    Config config_{};
    std::size_t entry_size_ = 0;
    std::uint32_t count_ = 0, taken_ = 0;
    std::uint64_t end_ = 0;  // of what was taken, in bytes
};

}  // namespace lehrnet::native
