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
    std::int32_t frame;  // a FrameKind

    LEHRNET_BOTH float at(int row, int column) const {
        const float* line = cells + static_cast<std::size_t>(row) * width;
        if (!mirrored) return line[column];
        const float* other = mirrored + static_cast<std::size_t>(row) * width;
        return (line[column] + other[mirrored_column(column, width, frame)]) * 0.5f;
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
    LEHRNET_BOTH void reduce(int thread, int width) {
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
    LEHRNET_BOTH Keypoint finish(const HeatMap& map, const DecodeSpec& spec, const Affine& affine) const {
        const float score = best[0];
        if (!(score - score == 0)) return {NAN, NAN, score};
        const int row = place[0] / map.width, column = place[0] % map.width;
        Offset<float> offset = {0, 0};
        if (spec.method == QUARTER) {
            offset = quarter_offset<float>(map, row, column, spec.frame);
        } else if (!stays(map, row, column, spec.method)) {
            offset = newton_offset(sites, spec.method);
        }
        const float x = to_crop(column, offset.x, spec.factor_x, spec.offset);
        const float y = to_crop(row, offset.y, spec.factor_y, spec.offset);
        return {static_cast<float>(affine.scale_x * x + affine.x), static_cast<float>(affine.scale_y * y + affine.y),
                score};
    }
};

// All phases in order. `phase` runs its argument on every thread and then waits for all of them.
template <int Threads, class Phases>
LEHRNET_BOTH void run_decode(DecodeBlock<Threads>& block, const HeatMap& map, const DecodeSpec& spec, const Affine& affine,
                             Keypoint* keypoint, const Phases& phase) {
    phase([&](int thread) { block.scan(thread, map); });
    for (int half = Threads / 2; half > 0; half /= 2) phase([&](int thread) { block.reduce(thread, half); });
    phase([&](int thread) { block.smooth_rows(thread, map, spec.method); });
    phase([&](int thread) { block.smooth_sites(thread, map, spec.method); });
    phase([&](int thread) {
        if (thread == 0) *keypoint = block.finish(map, spec, affine);
    });
}

}  // namespace lehrnet
