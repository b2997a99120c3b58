// Packed networks with made-up weights, for tests.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "../src/native/engine.h"
#include "../src/native/instructions.h"

namespace packed {

using namespace lehrnet::native;

using Bytes = std::vector<unsigned char>;
using Numbers = std::vector<std::uint32_t>;  // joints, width, units, modules of three stages, light_units, light_convs, attention

inline constexpr std::size_t HEADER = 64, ENTRIES[] = {24, 32}, ALIGNMENT = 64;  // entries by version
inline constexpr std::uint32_t BYTES = 1;                                        // a type; 0: floats

struct Tensor {
    Sizes sizes;
    std::uint32_t type;

    std::size_t bytes() const { return sizes.count() * (type == BYTES ? 1 : sizeof(float)); }
};

inline std::size_t aligned(std::size_t size) { return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

// One tensor's numbers, small and different.
inline void fill(unsigned char* at, const Tensor& tensor, std::uint32_t& state) {
    for (std::uint64_t i = 0; i < tensor.sizes.count(); ++i) {
        state = state * 1664525 + 1013904223;
        const float random = static_cast<float>(state >> 8) / (1 << 24) - 0.5f;
        // One number or two may be what keeps a variance positive, or what steps are worth.
        const float weight = tensor.sizes.count() <= 2 ? 0.01f : random / 8;
        if (tensor.type == BYTES) at[i] = static_cast<unsigned char>(static_cast<signed char>(random * 254));
        else std::memcpy(at + i * sizeof weight, &weight, sizeof weight);
    }
}

// The file of these tensors.
inline Bytes file_of(const Numbers& config, const std::vector<Tensor>& tensors, std::uint32_t version) {
    const std::size_t entry = ENTRIES[version - 1];
    std::size_t total = aligned(HEADER + tensors.size() * entry);
    Bytes table;
    for (const Tensor& each : tensors) {
        const std::uint32_t sizes[] = {each.sizes.out, each.sizes.in, each.sizes.height, each.sizes.width};
        const std::uint64_t offset = total;
        unsigned char written[32] = {};
        std::memcpy(written, sizes, sizeof sizes);
        std::memcpy(written + 16, &offset, sizeof offset);
        std::memcpy(written + 24, &each.type, sizeof each.type);
        table.insert(table.end(), written, written + entry);
        total += aligned(each.bytes());
    }
    Bytes file(total);
    const std::uint32_t marks[] = {version, 0x01020304}, count = static_cast<std::uint32_t>(tensors.size());
    const std::uint64_t size = total;
    std::memcpy(file.data(), "LEHRNETN", 8);
    std::memcpy(file.data() + 8, marks, sizeof marks);
    std::memcpy(file.data() + 16, &size, sizeof size);
    std::memcpy(file.data() + 24, config.data(), config.size() * sizeof config[0]);
    std::memcpy(file.data() + 60, &count, sizeof count);
    if (!table.empty()) std::memcpy(file.data() + HEADER, table.data(), table.size());
    std::uint32_t state = 1;
    std::size_t at = aligned(HEADER + table.size());
    for (const Tensor& each : tensors) {
        fill(file.data() + at, each, state);
        at += aligned(each.bytes());
    }
    return file;
}

// A network of golden/networks.txt, where Python says which tensors it has. `version` 2: all that may be of bytes is.
inline Bytes network(const std::string& golden, const std::string& wanted, std::uint32_t version = 1) {
    std::ifstream lines(golden + "/networks.txt");
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string name;
        std::uint32_t found = 0;
        if (!(words >> name >> found) || name != wanted || found != version) continue;
        Numbers config(9);
        std::size_t count = 0;
        for (std::uint32_t& number : config) words >> number;
        words >> count;
        std::vector<Tensor> tensors(count);
        for (Tensor& each : tensors) {
            words >> each.type >> each.sizes.out >> each.sizes.in >> each.sizes.height >> each.sizes.width;
        }
        return file_of(config, tensors, version);
    }
    std::fprintf(stderr, "%s/networks.txt has no network %s of version %u\n", golden.c_str(), wanted.c_str(), version);
    std::exit(1);
}

}  // namespace packed
