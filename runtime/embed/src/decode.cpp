#include "decode.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "failure.h"

namespace lehrnet {
namespace {

struct Map {
    const float* cells;
    int height, width;
    float at(int row, int column) const { return cells[static_cast<std::size_t>(row) * width + column]; }
};

Offset<double> newton(const Map& map, int row, int column, std::int32_t method) {
    if (stays(map, row, column, method)) return {0, 0};
    const int reach = reach_of(method), sites = 2 * reach + 1;
    double bands[MOST_ROWS][MOST_SITES], smoothed[MOST_SITES][MOST_SITES];
    for (int i = 0; i < sites + 2 * RADIUS; ++i) {
        for (int j = 0; j < sites; ++j) {
            bands[i][j] = smoothed_in_row<double>(map, row - reach - RADIUS + i, column, reach, j);
        }
    }
    for (int i = 0; i < sites; ++i) {
        for (int j = 0; j < sites; ++j) smoothed[i][j] = smoothed_at(bands, map.height, row, reach, i, j);
    }
    return newton_offset(smoothed, method);
}

// The place of the first of the largest values; NaN counts as the largest, so that it is noticed.
std::size_t arg_max(const float* values, std::size_t count) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < count; ++i) {
        if (!(values[i] <= values[best])) {
            best = i;
            if (std::isnan(values[i])) break;
        }
    }
    return best;
}

// A box at the end of float's range has points beyond it.
float finite(double position) {
    constexpr double most = std::numeric_limits<float>::max();
    return static_cast<float>(std::clamp(position, -most, most));
}

}  // namespace

DecodeSpec decode_spec(const Spec& spec) {
    const int height = spec.heatmap_height(), width = spec.heatmap_width();
    const auto stride = static_cast<float>(spec.stride);
    DecodeSpec found{height, width, spec.decode, spec.frame, stride, stride, 0};
    if (spec.frame == FRAME_EDGES) found.offset = (stride - 1) / 2;
    if (spec.frame == FRAME_UDP) {  // the outermost cells lie on the outermost pixels
        found.factor_x = static_cast<float>(static_cast<double>(spec.input_width - 1) / (width - 1));
        found.factor_y = static_cast<float>(static_cast<double>(spec.input_height - 1) / (height - 1));
    }
    return found;
}

void decode_person(const float* heatmaps, const Affine& affine, const Spec& spec, std::size_t person,
                   lehrnet_keypoint* keypoints) {
    const DecodeSpec cells = decode_spec(spec);
    for (std::size_t joint = 0; joint < spec.joints.size(); ++joint) {
        const Map map = {heatmaps + joint * spec.map_size(), spec.heatmap_height(), spec.heatmap_width()};
        const std::size_t peak = std::isnan(map.cells[0]) ? 0 : arg_max(map.cells, spec.map_size());
        const float score = map.cells[peak];
        if (!std::isfinite(score)) {
            fail(LEHRNET_BAD_HEATMAP, "the heatmap of person ", person, ", joint ", joint, " holds NaN or infinity");
        }
        const int row = static_cast<int>(peak) / map.width, column = static_cast<int>(peak) % map.width;
        const Offset<double> offset = spec.decode == QUARTER ? quarter_offset<double>(map, row, column, spec.frame)
                                                             : newton(map, row, column, spec.decode);
        const float x = to_crop(column, static_cast<float>(offset.x), cells.factor_x, cells.offset);
        const float y = to_crop(row, static_cast<float>(offset.y), cells.factor_y, cells.offset);
        keypoints[joint] = {finite(affine.scale_x * x + affine.x), finite(affine.scale_y * y + affine.y), score};
    }
}

void fuse_flipped(float* heatmaps, const float* of_mirrored, const std::vector<int>& mirror, const Spec& spec) {
    const int width = spec.heatmap_width();
    for (std::size_t joint = 0; joint < spec.joints.size(); ++joint) {
        for (int row = 0; row < spec.heatmap_height(); ++row) {
            float* to = heatmaps + joint * spec.map_size() + static_cast<std::size_t>(row) * width;
            const float* from = of_mirrored + mirror[joint] * spec.map_size() + static_cast<std::size_t>(row) * width;
            for (int x = 0; x < width; ++x) to[x] = (to[x] + from[mirrored_column(x, width, spec.frame)]) * 0.5f;
        }
    }
}

}  // namespace lehrnet
