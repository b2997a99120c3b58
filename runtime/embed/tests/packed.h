// A packed network of any config with made-up weights, for tests: what it takes is learned from the engine's own words.
#pragma once

#include <cstdio>
#include <cstring>
#include <vector>

#include "../src/failure.h"
#include "../src/native/engine.h"
#include "../src/native/instructions.h"

namespace packed {

using namespace lehrnet::native;

using Bytes = std::vector<unsigned char>;
using Numbers = std::vector<std::uint32_t>;  // joints, width, units, modules of three stages, light_units, light_convs, attention

inline constexpr std::size_t HEADER = 64, ENTRY = 24, ALIGNMENT = 64;

inline std::size_t aligned(std::size_t size) { return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

// The file of these tensors, whose weights are small and different.
inline Bytes file_of(const Numbers& config, const std::vector<Sizes>& tensors) {
    std::size_t total = aligned(HEADER + tensors.size() * ENTRY);
    Bytes table;
    for (const Sizes& each : tensors) {
        const std::uint32_t sizes[] = {each.out, each.in, each.height, each.width};
        const std::uint64_t offset = total;
        table.resize(table.size() + ENTRY);
        std::memcpy(table.data() + table.size() - ENTRY, sizes, sizeof sizes);
        std::memcpy(table.data() + table.size() - sizeof offset, &offset, sizeof offset);
        total += aligned(each.count() * sizeof(float));
    }
    Bytes file(total);
    const std::uint32_t marks[] = {1, 0x01020304}, count = static_cast<std::uint32_t>(tensors.size());
    const std::uint64_t size = total;
    std::memcpy(file.data(), "LEHRNETN", 8);
    std::memcpy(file.data() + 8, marks, sizeof marks);
    std::memcpy(file.data() + 16, &size, sizeof size);
    std::memcpy(file.data() + 24, config.data(), config.size() * sizeof config[0]);
    std::memcpy(file.data() + 60, &count, sizeof count);
    if (!table.empty()) std::memcpy(file.data() + HEADER, table.data(), table.size());
    std::uint32_t state = 1;
    std::size_t at = aligned(HEADER + table.size());
    for (const Sizes& each : tensors) {
        for (std::uint64_t i = 0; i < each.count(); ++i) {
            state = state * 1664525 + 1013904223;
            // A single number may be what keeps a variance positive.
            const float weight = each.count() == 1 ? 0.01f : (static_cast<float>(state >> 8) / (1 << 24) - 0.5f) / 8;
            std::memcpy(file.data() + at + i * sizeof weight, &weight, sizeof weight);
        }
        at += aligned(each.count() * sizeof(float));
    }
    return file;
}

inline Bytes network(const Numbers& config) {
    std::vector<Sizes> tensors;
    for (;;) {
        tensors.push_back({0, 0, 0, 0});
        const Bytes file = file_of(config, tensors);
        tensors.pop_back();
        Sizes wanted{};
        try {
            Engine(Artefact(file.data(), file.size(), "it"), 32, 32, 1, 1, choose_instructions("plain"));
        } catch (const lehrnet::Failure& failure) {
            const char* const words = std::strstr(failure.what(), "expected ");
            if (!words || std::sscanf(words, "expected %ux%ux%ux%u", &wanted.out, &wanted.in, &wanted.height, &wanted.width) != 4) {
                return file_of(config, tensors);  // one is left over: that was all
            }
        }
        tensors.push_back(wanted);
    }
}

}  // namespace packed
