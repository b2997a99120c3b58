#include "decode.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "failure.h"

namespace lehrnet {
namespace {

constexpr int RADIUS = 5;             // DARK: an 11-cell Gaussian kernel of sigma 2, for targets of sigma 2
constexpr double SIGMA = 2.0;
constexpr double LOG_FLOOR = 1e-3;    // of the peak: below it a logarithm would tell of noise
constexpr double LONGEST_STEP = 1.0;  // cells: a Newton step that goes further left the peak that it started from
constexpr int MOST_SITES = 5;

struct Map {
    const float* cells;
    int height, width;
    float at(int row, int column) const { return cells[static_cast<std::size_t>(row) * width + column]; }
};

struct Offset {
    double x = 0, y = 0;
};

double sign(float value) { return value > 0 ? 1 : value < 0 ? -1 : 0; }

// A quarter cell towards the higher neighbour on each axis; none on the border.
Offset quarter(const Map& map, int row, int column) {
    Offset offset;
    if (column > 0 && column < map.width - 1) {
        offset.x = 0.25 * sign(map.at(row, column + 1) - map.at(row, column - 1));
    }
    if (row > 0 && row < map.height - 1) offset.y = 0.25 * sign(map.at(row + 1, column) - map.at(row - 1, column));
    return offset;
}

// Weights of the smoothing kernel by distance; they sum to 1 over both sides.
const std::array<double, RADIUS + 1>& kernel() {
    static const auto weights = [] {
        std::array<double, RADIUS + 1> found{};
        double total = 0;
        for (int d = -RADIUS; d <= RADIUS; ++d) total += std::exp(-d * d / (2 * SIGMA * SIGMA));
        for (int d = 0; d <= RADIUS; ++d) found[d] = std::exp(-d * d / (2 * SIGMA * SIGMA)) / total;
        return found;
    }();
    return weights;
}

using Sites = std::array<std::array<double, MOST_SITES>, MOST_SITES>;

// The smoothed map at (2 * reach + 1)^2 sites around a cell, each moved into the map; zero beyond the border.
Sites smoothed(const Map& map, int row, int column, int reach) {
    const int sites = 2 * reach + 1;
    const auto& weights = kernel();
    std::array<std::array<double, MOST_SITES>, 2 * (RADIUS + 2) + 1> bands{};  // by row: smoothed along columns
    const int first = std::max(row - reach - RADIUS, 0), last = std::min(row + reach + RADIUS, map.height - 1);
    for (int y = first; y <= last; ++y) {
        for (int j = 0; j < sites; ++j) {
            const int site = std::clamp(column + j - reach, 0, map.width - 1);
            double sum = 0;
            for (int x = std::max(site - RADIUS, 0); x <= std::min(site + RADIUS, map.width - 1); ++x) {
                sum += weights[std::abs(x - site)] * map.at(y, x);
            }
            bands[y - first][j] = sum;
        }
    }
    Sites values{};
    for (int i = 0; i < sites; ++i) {
        const int site = std::clamp(row + i - reach, 0, map.height - 1);
        for (int y = std::max(site - RADIUS, first); y <= std::min(site + RADIUS, last); ++y) {
            for (int j = 0; j < sites; ++j) values[i][j] += weights[std::abs(y - site)] * bands[y - first][j];
        }
    }
    return values;
}

// From the peak to the top of the parabola through the smoothed log heatmap around it.
Offset newton(const Map& map, int row, int column, Decode method) {
    const int reach = method == Decode::dark ? 2 : 1;
    if (method == Decode::dark && (row < reach || column < reach || row >= map.height - reach ||
                                   column >= map.width - reach)) {
        return {};  // as published: a peak within two cells of the border stays
    }
    Sites logs = smoothed(map, row, column, reach);
    const double peak = logs[reach][reach];
    if (!(peak > 0)) return {};
    for (auto& line : logs) {
        for (double& value : line) value = std::log(std::max(value, LOG_FLOOR * peak));
    }
    const auto at = [&logs, reach](int dy, int dx) { return logs[reach + dy][reach + dx]; };
    const double dx = (at(0, 1) - at(0, -1)) / 2, dy = (at(1, 0) - at(-1, 0)) / 2;
    const double xx = (at(0, reach) - 2 * at(0, 0) + at(0, -reach)) / (reach * reach);
    const double yy = (at(reach, 0) - 2 * at(0, 0) + at(-reach, 0)) / (reach * reach);
    const double xy = method == Decode::dark
                          ? (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1)) / 4
                          : (at(1, 1) - at(0, 1) - at(1, 0) + 2 * at(0, 0) - at(0, -1) - at(-1, 0) + at(-1, -1)) / 2;
    const double determinant = xx * yy - xy * xy;
    if (!(xx < 0 && determinant > 0)) return {};
    return {std::clamp((xy * dy - yy * dx) / determinant, -LONGEST_STEP, LONGEST_STEP),
            std::clamp((xy * dx - xx * dy) / determinant, -LONGEST_STEP, LONGEST_STEP)};
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

}  // namespace

void decode_person(const float* heatmaps, const Affine& affine, const Spec& spec, std::size_t person,
                   lehrnet_keypoint* keypoints) {
    for (std::size_t joint = 0; joint < spec.joints.size(); ++joint) {
        const Map map = {heatmaps + joint * spec.map_size(), spec.heatmap_height(), spec.heatmap_width()};
        const std::size_t peak = std::isnan(map.cells[0]) ? 0 : arg_max(map.cells, spec.map_size());
        const float score = map.cells[peak];
        if (!std::isfinite(score)) {
            fail(LEHRNET_BAD_HEATMAP, "the heatmap of person ", person, ", joint ", joint, " holds NaN or infinity");
        }
        const int row = static_cast<int>(peak) / map.width, column = static_cast<int>(peak) % map.width;
        const Offset offset =
            spec.decode == Decode::quarter ? quarter(map, row, column) : newton(map, row, column, spec.decode);
        // A cell's centre is that of the 4x4 pixels it covers; in float, as the definition has it.
        const float x = (static_cast<float>(column) + static_cast<float>(offset.x)) * 4 + 1.5f;
        const float y = (static_cast<float>(row) + static_cast<float>(offset.y)) * 4 + 1.5f;
        keypoints[joint] = {static_cast<float>(affine.scale * x + affine.x),
                            static_cast<float>(affine.scale * y + affine.y), score};
    }
}

void fuse_flipped(float* heatmaps, const float* of_mirrored, const std::vector<int>& mirror, const Spec& spec) {
    const int width = spec.heatmap_width();
    for (std::size_t joint = 0; joint < spec.joints.size(); ++joint) {
        for (int row = 0; row < spec.heatmap_height(); ++row) {
            float* to = heatmaps + joint * spec.map_size() + static_cast<std::size_t>(row) * width;
            const float* from = of_mirrored + mirror[joint] * spec.map_size() + static_cast<std::size_t>(row) * width;
            for (int x = 0; x < width; ++x) to[x] = (to[x] + from[width - 1 - x]) * 0.5f;
        }
    }
}

}  // namespace lehrnet
