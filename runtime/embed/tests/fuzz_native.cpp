// Packed networks: bytes as they come, and right files of which some numbers are changed or that are cut. What is let
// through is run. $LEHRNET_GOLDEN is tests/golden.
#include <algorithm>

#include "../src/failure.h"
#include "packed.h"
#include "source.h"

namespace {

using namespace packed;

constexpr int SIDE = 32;

void open_and_run(const unsigned char* bytes, std::size_t size) {
    const auto kernels = usable_instructions();
    try {
        const Artefact artefact(bytes, size, "it");
        if (artefact.config().width > 16 || artefact.config().joints > 64) return;  // right, and slow
        Engine engine(artefact, SIDE, SIDE, 1, 1, *kernels[size % kernels.size()]);
        const std::vector<float> crop(3 * SIDE * SIDE, 0.5f);
        std::vector<float> heatmaps(static_cast<std::size_t>(artefact.config().joints) * SIDE * SIDE / 16);
        engine.run(crop.data(), 1, heatmaps.data());
    } catch (const lehrnet::Failure&) {
    }
}

// In memory of just its size, so that a sanitizer sees the byte behind it.
void damage_and_run(::Source& source, const Bytes& right) {
    const std::size_t cut = source.take<std::uint8_t>() % 4 == 0 ? source.take<std::uint32_t>() % right.size() : 0;
    Bytes file(right.begin(), right.end() - static_cast<std::ptrdiff_t>(cut));
    if (cut > 0 && file.size() >= HEADER && source.take<std::uint8_t>() % 2) {
        const std::uint64_t told = file.size();
        std::memcpy(file.data() + 16, &told, sizeof told);
    }
    for (int changes = source.take<std::uint8_t>() % 4; changes > 0 && file.size() > 4; --changes) {
        const std::size_t numbers = std::min<std::size_t>(file.size(), 4096) / 4;
        const std::size_t at = source.take<std::uint16_t>() % numbers * 4;
        const auto number = static_cast<std::uint32_t>(source.size_of_something(99));
        std::memcpy(file.data() + at, &number, std::min<std::size_t>(4, file.size() - at));
    }
    file.shrink_to_fit();
    open_and_run(file.data(), file.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::string golden = std::getenv("LEHRNET_GOLDEN");
    static const Bytes light = network(golden, "smallest"), dense = network(golden, "smallest_dense"),
                       of_bytes = network(golden, "smallest", 2);
    ::Source source{data, size};
    const auto kind = source.take<std::uint8_t>();
    if (kind % 8 == 0) {
        const Bytes bytes(source.data, source.data + source.size);
        open_and_run(bytes.data(), bytes.size());
    } else {
        damage_and_run(source, kind % 8 < 3 ? of_bytes : kind % 2 ? light : dense);
    }
    return 0;
}
