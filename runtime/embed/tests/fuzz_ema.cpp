// lehrnet.EMA on inputs of any shape: what the check lets through is run in memory of just that size.
#include <vector>

#include "source.h"
#include "../src/ema.h"
#include "../src/ema_shapes.h"

namespace {

std::size_t cells_of(const lehrnet::InputShape& shape) {
    std::size_t cells = 1;
    for (std::size_t i = 0; i < shape.rank; ++i) cells *= static_cast<std::size_t>(shape.dims[i]);
    return cells;
}

// The shapes that fit a map of any size, then damaged here and there.
lehrnet::InputShapes shapes_from(Source& source, std::int64_t groups) {
    const std::int64_t c = source.size_of_something(9), channels = groups > 0 && groups < 9 && c > 0 && c < 99 ? groups * c : c;
    const lehrnet::InputShape map = {true, 4, {source.size_of_something(2), channels, source.size_of_something(9),
                                               source.size_of_something(9)}};
    const lehrnet::InputShape each = {true, 1, {c}};
    lehrnet::InputShapes shapes = {map, map, {true, 4, {c, c, 1, 1}}, each, {true, 4, {c, 1, 3, 3}}, {true, 1, {1}},
                                   each, each, {true, 4, {c, c, 3, 3}}, each};
    for (int damages = source.take<std::uint8_t>() % 4; damages > 0; --damages) {
        lehrnet::InputShape& shape = shapes[source.take<std::uint8_t>() % shapes.size()];
        switch (source.take<std::uint8_t>() % 3) {
            case 0: shape.rank = source.take<std::uint8_t>() % 7; break;
            case 1: shape.is_float = false; break;
            default: shape.dims[source.take<std::uint8_t>() % 4] = source.size_of_something(9);
        }
    }
    return shapes;
}

void run(const lehrnet::InputShapes& shapes, std::int64_t groups, float epsilon, Source& source) {
    std::vector<std::vector<float>> numbers;
    for (const lehrnet::InputShape& shape : shapes) {
        numbers.emplace_back(cells_of(shape));
        for (float& number : numbers.back()) number = source.take<float>();
    }
    const auto& dims = shapes[lehrnet::MAP].dims;
    lehrnet::Ema ema;
    ema.groups = groups, ema.channels = dims[1] / groups, ema.height = dims[2], ema.width = dims[3], ema.eps = epsilon;
    ema.gate = numbers[lehrnet::GATE].data(), ema.gate_bias = numbers[lehrnet::GATE_BIAS].data();
    ema.local = numbers[lehrnet::LOCAL].data(), ema.local_bias = numbers[lehrnet::LOCAL_BIAS].data();
    ema.scale = numbers[lehrnet::SCALE].data(), ema.shift = numbers[lehrnet::SHIFT].data();
    ema.mean = numbers[lehrnet::MEAN].data(), ema.mean_bias = numbers[lehrnet::MEAN_BIAS].data();
    std::vector<float> out(numbers[0].size()), work(lehrnet::ema_workspace(ema));
    const auto size = static_cast<std::size_t>(ema.channels * ema.height * ema.width);
    for (std::size_t at = 0; at < out.size(); at += size) {
        lehrnet::ema_group(ema, &numbers[lehrnet::MAP][at], &numbers[lehrnet::SHORTCUT][at], &out[at], work.data());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Source source{data, size};
    const std::int64_t groups = source.size_of_something(4);
    const auto epsilon = source.take<float>();
    if (!lehrnet::wrong_attributes(groups, epsilon).empty()) return 0;
    const lehrnet::InputShapes shapes = shapes_from(source, groups);
    if (!lehrnet::wrong_inputs(groups, shapes).empty()) return 0;
    const auto& dims = shapes[lehrnet::MAP].dims;
    if (dims[0] > 4 || dims[1] > 64 || dims[2] > 64 || dims[3] > 64) return 0;  // right, and slow
    run(shapes, groups, epsilon, source);
    return 0;
}
