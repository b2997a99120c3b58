// What a block of threads does, as phases between which all of them wait. CUDA runs a phase on every thread at once
// (kernels.cu), the tests run it thread after thread; either way a phase reads only what an earlier one wrote.
#pragma once

#include "crop.h"
#include "decode.h"

namespace lehrnet {

// Heatmaps (h, w) of one joint; with `mirrored`, those of the flipped crop's opposite joint, both are averaged.
struct HeatMap {
    const float *cells, *mirrored;
    std::int32_t height, width;

    LEHRNET_BOTH float at(int row, int column) const {
        const float* line = cells + static_cast<std::size_t>(row) * width;
        if (!mirrored) return line[column];
        return (line[column] + mirrored[static_cast<std::size_t>(row) * width + width - 1 - column]) * 0.5f;
    }
};

struct Keypoint {
    float x, y, score;  // px of the image
};

// One block a joint: arg-max, refinement, and the way back into the image.
template <int Threads>
struct DecodeBlock {
    float best[Threads];
    std::int32_t place[Threads];
    float bands[MOST_ROWS][MOST_SITES], sites[MOST_SITES][MOST_SITES];

    // NaN counts as the largest, so that it is noticed; of equals the first wins.
    LEHRNET_BOTH static bool wins(float value, std::int32_t at, float other, std::int32_t other_at) {
        const bool is_nan = value != value, other_is_nan = other != other;
        if (is_nan != other_is_nan) return is_nan;
        if (!is_nan && value != other) return value > other;
        return at < other_at;
    }

    LEHRNET_BOTH void scan(int thread, const HeatMap& map) {
        const std::int32_t cells = map.height * map.width;
        float value = -INFINITY;
        std::int32_t at = INT32_MAX;
        for (std::int32_t cell = thread; cell < cells; cell += Threads) {
            const float here = map.at(cell / map.width, cell % map.width);
            if (wins(here, cell, value, at)) {
                value = here;
                at = cell;
            }
        }
        best[thread] = value;
        place[thread] = at;
    }

    // For width = Threads / 2, ... 1: afterwards thread 0 has the winner.
    LEHRNET_BOTH void fold(int thread, int width) {
        if (thread < width && wins(best[thread + width], place[thread + width], best[thread], place[thread])) {
            best[thread] = best[thread + width];
            place[thread] = place[thread + width];
        }
    }

    LEHRNET_BOTH void smooth_rows(int thread, const HeatMap& map, std::int32_t method) {
        if (method == QUARTER) return;
        const int row = place[0] / map.width, column = place[0] % map.width, reach = reach_of(method);
        const int count = 2 * reach + 1;
        for (int item = thread; item < (count + 2 * RADIUS) * count; item += Threads) {
            const int i = item / count, j = item % count;
            bands[i][j] = smoothed_in_row<float>(map, row - reach - RADIUS + i, column, reach, j);
        }
    }

    LEHRNET_BOTH void smooth_sites(int thread, const HeatMap& map, std::int32_t method) {
        if (method == QUARTER) return;
        const int row = place[0] / map.width, reach = reach_of(method), count = 2 * reach + 1;
        for (int item = thread; item < count * count; item += Threads) {
            const int i = item / count, j = item % count;
            sites[i][j] = smoothed_at(bands, map.height, row, reach, i, j);
        }
    }

    // The joint; NaN where its heatmap holds NaN or infinity, which the host reports.
    LEHRNET_BOTH Keypoint finish(const HeatMap& map, std::int32_t method, const Affine& affine) const {
        const float score = best[0];
        if (!(score - score == 0)) return {NAN, NAN, score};
        const int row = place[0] / map.width, column = place[0] % map.width;
        Offset<float> offset = {0, 0};
        if (method == QUARTER) {
            offset = quarter_offset<float>(map, row, column);
        } else if (!stays(map, row, column, method)) {
            offset = newton_offset(sites, method);
        }
        return {static_cast<float>(affine.scale * to_crop(column, offset.x) + affine.x),
                static_cast<float>(affine.scale * to_crop(row, offset.y) + affine.y), score};
    }
};

// The weights of one EMA module, c = channels a group; all groups share them (lehrnet/model/ema.py).
struct EmaWeights {
    const float *gate, *gate_bias;    // (c, c) and (c): the 1x1 conv
    const float *conv, *conv_bias;    // (c, c, 3, 3) and (c)
    const float *scale, *shift;       // (c): the norm's affine
    const float *local, *local_bias;  // (c, 3, 3) and (1): the 3x3 conv under the constant softmax
    float eps;
};

constexpr int EMA_WIDEST = 8;  // channels a group: 256 / 32

// One block a group of one person: a whole EMA in shared memory; the map is read once and written once.
template <int Threads>
struct EmaBlock {
    float partial[Threads];
    float mean[EMA_WIDEST], deviation[EMA_WIDEST], share[EMA_WIDEST];
    std::int32_t channels, height, width;
    float *x, *rows, *columns, *row_gates, *column_gates;  // c x HW, c x H, c x W, likewise

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

    LEHRNET_BOTH void load(int thread, const float* map) {
        for (int i = thread; i < channels * cells(); i += Threads) x[i] = map[i];
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

    // Threads / channels of the threads add up each channel: its values, or its squared distances from the mean.
    LEHRNET_BOTH void add_up(int thread, bool squares) {
        const int lanes = Threads / channels, channel = thread / lanes;
        float sum = 0;
        if (channel < channels) {
            for (int cell = thread % lanes; cell < cells(); cell += lanes) {
                const float value = gated(channel, cell);
                sum += squares ? (value - mean[channel]) * (value - mean[channel]) : value;
            }
        }
        partial[thread] = sum;
    }

    LEHRNET_BOTH void settle(int thread, bool squares, float eps) {
        const int lanes = Threads / channels;
        if (thread >= channels) return;
        float sum = 0;
        for (int lane = 0; lane < lanes; ++lane) sum += partial[thread * lanes + lane];
        sum /= static_cast<float>(cells());
        if (squares) {
            deviation[thread] = 1 / sqrtf(sum + eps);
        } else {
            mean[thread] = sum;
        }
    }

    // The sum of the cells that tap (ky, kx) of a zero-padded 3x3 kernel sees: all but an edge row and an edge column.
    LEHRNET_BOTH float window(int channel, int ky, int kx) const {
        const float *row = rows + channel * height, *column = columns + channel * width, *map = x + channel * cells();
        float sum = 0;
        for (int i = 0; i < height; ++i) sum += row[i];
        sum *= static_cast<float>(width);
        const int skipped_row = ky == 0 ? height - 1 : 0, skipped_column = kx == 0 ? width - 1 : 0;
        if (ky != 1) sum -= row[skipped_row] * static_cast<float>(width);
        if (kx != 1) sum -= column[skipped_column] * static_cast<float>(height);
        if (ky != 1 && kx != 1) sum += map[skipped_row * width + skipped_column];
        return sum;
    }

    // Logits of the second softmax: the spatial mean of the 3x3 conv, by nine window sums.
    LEHRNET_BOTH void weigh(int thread, const EmaWeights& weights) {
        if (thread >= channels) return;
        float sum = 0;
        for (int in = 0; in < channels; ++in) {
            for (int k = 0; k < 9; ++k) {
                sum += weights.conv[(thread * channels + in) * 9 + k] * window(in, k / 3, k % 3);
            }
        }
        partial[thread] = weights.conv_bias[thread] + sum / static_cast<float>(cells());
    }

    LEHRNET_BOTH void soften(int thread) {
        if (thread >= channels) return;
        float highest = partial[0], total = 0;
        for (int i = 1; i < channels; ++i) highest = most(highest, partial[i]);
        for (int i = 0; i < channels; ++i) total += expf(partial[i] - highest);
        share[thread] = expf(partial[thread] - highest) / total;
    }

    LEHRNET_BOTH void weigh_map(int thread, const EmaWeights& weights, float* out) const {
        for (int cell = thread; cell < cells(); cell += Threads) {
            const int row = cell / width, column = cell % width;
            float logit = weights.local_bias[0];
            for (int channel = 0; channel < channels; ++channel) {
                const float normal = (gated(channel, cell) - mean[channel]) * deviation[channel];
                logit += share[channel] * (normal * weights.scale[channel] + weights.shift[channel]);
                for (int k = 0; k < 9; ++k) {
                    const int y = row + k / 3 - 1, z = column + k % 3 - 1;
                    if (y < 0 || z < 0 || y >= height || z >= width) continue;
                    logit += weights.local[channel * 9 + k] * x[channel * cells() + y * width + z];
                }
            }
            const float weight = sigmoid(logit);
            for (int channel = 0; channel < channels; ++channel) {
                out[channel * cells() + cell] = x[channel * cells() + cell] * weight;
            }
        }
    }
};

}  // namespace lehrnet
