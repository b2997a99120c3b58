// EMA of one group of channels by a block of threads, by its exact algebra (lehrnet/model/ema.py), in phases as in blocks.h.
#pragma once

#include "portable.h"

namespace lehrnet {

// Of one module, in float32; c = channels a group, and all groups share them: FrozenEMA.group_weights in this order.
struct EmaWeights {
    const float *gate, *gate_bias;    // (c, c) and (c): the 1x1 conv
    const float *local, *local_bias;  // (c, 3, 3) and (1): the 3x3 conv under the constant softmax
    const float *scale, *shift;       // (c): the norm's affine
    const float *mean, *mean_bias;    // (c, c, 3, 3) and (c): from nine window sums to the mean of the 3x3 conv
    float eps;
};

// Where a group's element (channel, cell) lies: {H*W, 1} in NCHW, {1, C} in NHWC (channels last).
struct Layout {
    std::int32_t channel, cell;
};

constexpr int EMA_WIDEST = 8;  // channels a group: 256 / 32; a power of two

// One block a group of one person: a whole EMA in shared memory; the map is read once and written once.
template <int Threads>
struct EmaBlock {
    float partial[Threads];
    float average[EMA_WIDEST], deviation[EMA_WIDEST], total[EMA_WIDEST], logit[EMA_WIDEST], share[EMA_WIDEST];
    std::int32_t channels, height, width;
    float *x, *rows, *columns, *row_gates, *column_gates;  // c x HW, c x H, c x W, likewise

    // Floats beside the block itself.
    LEHRNET_BOTH static std::size_t workspace(int channels, int height, int width) {
        return static_cast<std::size_t>(channels) * (height * width + 2 * (height + width));
    }

    LEHRNET_BOTH void place_in(float* memory, int channels_, int height_, int width_) {
        channels = channels_, height = height_, width = width_;
        x = memory;
        rows = x + channels * height * width;
        columns = rows + channels * height;
        row_gates = columns + channels * width;
        column_gates = row_gates + channels * height;
    }

    LEHRNET_BOTH int cells() const { return height * width; }
    LEHRNET_BOTH int lanes() const { return Threads / channels; }  // threads that add up one channel

    // Where a thread's i-th element lies: neighbours in memory go to neighbouring threads.
    struct Element {
        int channel, cell, offset;
    };
    LEHRNET_BOTH Element element(int i, const Layout& layout) const {
        const int channel = layout.channel == 1 ? i % channels : i / cells();
        const int cell = layout.channel == 1 ? i / channels : i % cells();
        return {channel, cell, channel * layout.channel + cell * layout.cell};
    }

    template <class Number>
    LEHRNET_BOTH void load(int thread, const Number* map, const Layout& layout) {
        for (int i = thread; i < channels * cells(); i += Threads) {
            const Element at = element(i, layout);
            x[at.channel * cells() + at.cell] = get(map + at.offset);
        }
    }

    LEHRNET_BOTH void pool(int thread) {
        for (int item = thread; item < channels * (height + width); item += Threads) {
            const bool of_row = item < channels * height;
            const int at = of_row ? item : item - channels * height;
            const int channel = of_row ? at / height : at / width, line = of_row ? at % height : at % width;
            const float* first = x + channel * cells() + (of_row ? line * width : line);
            const int count = of_row ? width : height, step = of_row ? 1 : width;
            float sum = 0;
            for (int i = 0; i < count; ++i) sum += first[i * step];
            (of_row ? rows : columns)[at] = sum / static_cast<float>(count);
        }
    }

    LEHRNET_BOTH void gate(int thread, const EmaWeights& weights) {
        for (int item = thread; item < channels * (height + width); item += Threads) {
            const bool of_row = item < channels * height;
            const int at = of_row ? item : item - channels * height, size = of_row ? height : width;
            const int out = at / size, line = at % size;
            float sum = weights.gate_bias[out];
            for (int in = 0; in < channels; ++in) {
                sum += weights.gate[out * channels + in] * (of_row ? rows : columns)[in * size + line];
            }
            (of_row ? row_gates : column_gates)[at] = sigmoid(sum);
        }
    }

    LEHRNET_BOTH static float sigmoid(float value) { return 1 / (1 + expf(-value)); }

    LEHRNET_BOTH float gated(int channel, int cell) const {
        return x[channel * cells() + cell] * row_gates[channel * height + cell / width] *
               column_gates[channel * width + cell % width];
    }

    // The lanes of each channel add up its gated values, or their squared distances from the average ...
    LEHRNET_BOTH void add_up(int thread, bool squares) {
        const int channel = thread / lanes();
        float sum = 0;
        for (int cell = thread % lanes(); cell < cells(); cell += lanes()) {
            const float value = gated(channel, cell);
            sum += squares ? (value - average[channel]) * (value - average[channel]) : value;
        }
        partial[thread] = sum;
    }

    // ... for half = lanes / 2, ... 1 the halves are added, until the first lane has the sum.
    LEHRNET_BOTH void reduce(int thread, int half) {
        if (thread % lanes() < half) partial[thread] += partial[thread + half];
    }

    LEHRNET_BOTH void finalize(int thread, bool squares, float eps) {
        if (thread >= channels) return;
        const float mean = partial[thread * lanes()] / static_cast<float>(cells());
        if (squares) {
            deviation[thread] = 1 / sqrtf(mean + eps);
        } else {
            average[thread] = mean;
        }
    }

    LEHRNET_BOTH void sum_rows(int thread) {
        if (thread >= channels) return;
        float sum = 0;
        for (int row = 0; row < height; ++row) sum += rows[thread * height + row];
        total[thread] = sum * static_cast<float>(width);
    }

    // The sum of the cells that tap (ky, kx) of a zero-padded 3x3 kernel sees: all but an edge row and an edge column.
    LEHRNET_BOTH float window(int channel, int ky, int kx) const {
        const int skipped_row = ky == 0 ? height - 1 : 0, skipped_column = kx == 0 ? width - 1 : 0;
        float sum = total[channel];
        if (ky != 1) sum -= rows[channel * height + skipped_row] * static_cast<float>(width);
        if (kx != 1) sum -= columns[channel * width + skipped_column] * static_cast<float>(height);
        if (ky != 1 && kx != 1) sum += x[channel * cells() + skipped_row * width + skipped_column];
        return sum;
    }

    // The second softmax weighs by the spatial mean of the 3x3 conv: what each channel in adds to each channel out.
    LEHRNET_BOTH void weigh(int thread, const EmaWeights& weights) {
        if (thread >= channels * channels) return;
        float sum = 0;
        for (int k = 0; k < 9; ++k) sum += weights.mean[thread * 9 + k] * window(thread % channels, k / 3, k % 3);
        partial[thread] = sum;
    }

    LEHRNET_BOTH void gather(int thread, const EmaWeights& weights) {
        if (thread >= channels) return;
        float sum = weights.mean_bias[thread];
        for (int in = 0; in < channels; ++in) sum += partial[thread * channels + in];
        logit[thread] = sum;
    }

    LEHRNET_BOTH void softmax(int thread) {
        if (thread >= channels) return;
        float highest = logit[0], sum = 0;
        for (int i = 1; i < channels; ++i) highest = most(highest, logit[i]);
        for (int i = 0; i < channels; ++i) sum += expf(logit[i] - highest);
        share[thread] = expf(logit[thread] - highest) / sum;
    }

    // The group's weight of a cell, before its sigmoid.
    LEHRNET_BOTH float weight_logit(int cell, const EmaWeights& weights) const {
        const int row = cell / width, column = cell % width;
        float sum = weights.local_bias[0];
        for (int channel = 0; channel < channels; ++channel) {
            const float normal = (gated(channel, cell) - average[channel]) * deviation[channel];
            sum += share[channel] * (normal * weights.scale[channel] + weights.shift[channel]);
            for (int k = 0; k < 9; ++k) {
                const int y = row + k / 3 - 1, z = column + k % 3 - 1;
                if (y < 0 || z < 0 || y >= height || z >= width) continue;
                sum += weights.local[channel * 9 + k] * x[channel * cells() + y * width + z];
            }
        }
        return sum;
    }

    // The weighed map; with a shortcut (same layout) ReLU(weighed + shortcut), the end of a LeEMA-Fusionblock.
    template <class Number>
    LEHRNET_BOTH void weigh_map(int thread, const EmaWeights& weights, const Number* shortcut, Number* out,
                                const Layout& layout) const {
        for (int cell = thread; cell < cells(); cell += Threads) {
            const float weight = sigmoid(weight_logit(cell, weights));
            for (int channel = 0; channel < channels; ++channel) {
                const int offset = channel * layout.channel + cell * layout.cell;
                const float weighed = x[channel * cells() + cell] * weight;
                put(out + offset, shortcut ? most(weighed + get(shortcut + offset), 0.0f) : weighed);
            }
        }
    }
};

// All phases in order. `phase` runs its argument on every thread and then waits for all of them.
template <int Threads, class Number, class Phases>
LEHRNET_BOTH void run_ema(EmaBlock<Threads>& block, const Number* map, const EmaWeights& weights, const Number* shortcut,
                          Number* out, const Layout& layout, const Phases& phase) {
    phase([&](int thread) { block.load(thread, map, layout); });
    phase([&](int thread) { block.pool(thread); });
    phase([&](int thread) { block.gate(thread, weights); });
    for (int squares = 0; squares < 2; ++squares) {
        phase([&](int thread) { block.add_up(thread, squares); });
        for (int half = block.lanes() / 2; half > 0; half /= 2) phase([&](int thread) { block.reduce(thread, half); });
        phase([&](int thread) { block.finalize(thread, squares, weights.eps); });
    }
    phase([&](int thread) { block.sum_rows(thread); });
    phase([&](int thread) { block.weigh(thread, weights); });
    phase([&](int thread) { block.gather(thread, weights); });
    phase([&](int thread) { block.softmax(thread); });
    phase([&](int thread) { block.weigh_map(thread, weights, shortcut, out, layout); });
}

}  // namespace lehrnet
