// EMA, the sum with the shortcut and the ReLU after it, in one pass over a group that lies in cache.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lehrnet {

// One EMA as lehrnet/model/ema.py freezes it; c = channels / groups. All groups share the weights.
struct Ema {
    std::int64_t groups = 0, channels = 0, height = 0, width = 0;  // channels of a group: c
    float eps = 0;
    const float *gate = nullptr, *gate_bias = nullptr;    // (c, c) and (c): the 1x1 conv
    const float *local = nullptr, *local_bias = nullptr;  // (c, 3, 3) and (1): the 3x3 conv under the constant softmax
    const float *scale = nullptr, *shift = nullptr;       // (c): the norm's affine
    const float *mean = nullptr, *mean_bias = nullptr;    // (c, c, 3, 3) and (c): window sums to the conv's spatial mean
};

// Floats of work space for a group.
std::size_t ema_workspace(const Ema& ema);

// out = max(0, x * sigmoid(weights of x) + shortcut), each (c, height, width) of one group.
void ema_group(const Ema& ema, const float* x, const float* shortcut, float* out, float* work);

}  // namespace lehrnet
