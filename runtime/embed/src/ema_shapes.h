// What the inputs of the operator lehrnet.EMA must be. Graphs come from anywhere: nothing is read before this is asked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace lehrnet {

// In the operator's order: the map and the shortcut (N, C, H, W), then the weights of `Ema`.
enum EmaInput : std::size_t { MAP, SHORTCUT, GATE, GATE_BIAS, LOCAL, LOCAL_BIAS, SCALE, SHIFT, MEAN, MEAN_BIAS, EMA_INPUTS };

constexpr std::size_t EMA_RANK = 4;

struct InputShape {
    bool is_float = true;
    std::size_t rank = 0;
    std::array<std::int64_t, EMA_RANK> dims{};  // as many as rank says; of a higher rank none
};

using InputShapes = std::array<InputShape, EMA_INPUTS>;

// Why an operator cannot have these attributes; empty if it can.
std::string wrong_attributes(std::int64_t groups, float epsilon);

// Which input is not what the map and the groups ask for: what came, what was wanted. Empty if all fit; then every size
// that follows from them, the work space's too, is within bounds.
std::string wrong_inputs(std::int64_t groups, const InputShapes& inputs);

}  // namespace lehrnet
