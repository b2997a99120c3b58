// Points from heatmaps, as lehrnet/pose/heatmap.py defines them, in pieces that one thread or many can do.
#pragma once

#include "portable.h"

namespace lehrnet {

enum DecodeMethod : std::int32_t { QUARTER = 0, DARK = 1, UDP = 2 };
enum FrameKind : std::int32_t { FRAME_EDGES = 0, FRAME_HRNET = 1, FRAME_UDP = 2 };

// A heatmap's size in cells, how its peak is refined, and how its cells lie in the crop: px = factor * cell + offset.
struct DecodeSpec {
    std::int32_t height, width;
    std::int32_t method;  // a DecodeMethod
    std::int32_t frame;   // a FrameKind
    float factor_x, factor_y, offset;
};

// The column of a mirrored heatmap that meets a column: in HRNet's frame it lies one cell to the left, and is shifted back.
LEHRNET_BOTH int mirrored_column(int column, int width, std::int32_t frame) {
    return width - 1 - (frame == FRAME_HRNET ? most(column - 1, 0) : column);
}

constexpr int RADIUS = 5;  // DARK: an 11-cell Gaussian kernel of sigma 2, for targets of sigma 2
constexpr int MOST_REACH = 2;
constexpr int MOST_SITES = 2 * MOST_REACH + 1;
constexpr int MOST_ROWS = 2 * (MOST_REACH + RADIUS) + 1;

template <class Real>
struct Offset {
    Real x, y;  // cells
};

// exp(-d^2 / 8) / sum, by distance; the eleven of them sum to 1.
template <class Real>
LEHRNET_BOTH Real smoothing_weight(int distance) {
    const double weight = distance == 0   ? 0.20056541423882085
                          : distance == 1 ? 0.1769983568313557
                          : distance == 2 ? 0.1216490730138096
                          : distance == 3 ? 0.06511405659938267
                          : distance == 4 ? 0.027143577143479373
                                          : 0.008812229292562285;
    return static_cast<Real>(weight);
}

// How far second differences reach.
LEHRNET_BOTH int reach_of(std::int32_t method) { return method == DARK ? 2 : 1; }

LEHRNET_BOTH float sign(float value) { return static_cast<float>(value > 0) - static_cast<float>(value < 0); }

// A quarter cell towards the higher neighbour on each axis; none on the border, and in HRNet's frame none in the first
// two rows and columns either. `map` gives at(row, column).
template <class Real, class Map>
LEHRNET_BOTH Offset<Real> quarter_offset(const Map& map, int row, int column, std::int32_t frame) {
    Offset<Real> offset = {0, 0};
    if (frame == FRAME_HRNET && !(column > 1 && column < map.width - 1 && row > 1 && row < map.height - 1)) return offset;
    if (column > 0 && column < map.width - 1) {
        offset.x = static_cast<Real>(0.25f * sign(map.at(row, column + 1) - map.at(row, column - 1)));
    }
    if (row > 0 && row < map.height - 1) {
        offset.y = static_cast<Real>(0.25f * sign(map.at(row + 1, column) - map.at(row - 1, column)));
    }
    return offset;
}

// As published a DARK peak within two cells of the border stays.
template <class Map>
LEHRNET_BOTH bool stays(const Map& map, int row, int column, std::int32_t method) {
    return method == DARK &&
           (row < MOST_REACH || column < MOST_REACH || row >= map.height - MOST_REACH || column >= map.width - MOST_REACH);
}

// The map's row y smoothed along columns, at the site `j` columns from the leftmost; zero beyond the border.
template <class Real, class Map>
LEHRNET_BOTH Real smoothed_in_row(const Map& map, int y, int column, int reach, int j) {
    if (y < 0 || y >= map.height) return 0;
    const int site = clamped(column + j - reach, 0, map.width - 1);
    Real sum = 0;
    for (int x = most(site - RADIUS, 0); x <= least(site + RADIUS, map.width - 1); ++x) {
        sum += smoothing_weight<Real>(x < site ? site - x : x - site) * static_cast<Real>(map.at(y, x));
    }
    return sum;
}

// The smoothed map at the site (i, j), of rows that `smoothed_in_row` gave: bands[y - (row - reach - RADIUS)][j].
template <class Real>
LEHRNET_BOTH Real smoothed_at(const Real (*bands)[MOST_SITES], int height, int row, int reach, int i, int j) {
    const int site = clamped(row + i - reach, 0, height - 1), first = row - reach - RADIUS;
    Real sum = 0;
    for (int y = site - RADIUS; y <= site + RADIUS; ++y) {
        sum += smoothing_weight<Real>(y < site ? site - y : y - site) * bands[y - first][j];
    }
    return sum;
}

// From the peak to the top of the parabola through the logarithms of the smoothed sites (2 * reach + 1)^2.
template <class Real>
LEHRNET_BOTH Offset<Real> newton_offset(const Real (*sites)[MOST_SITES], std::int32_t method) {
    const int reach = reach_of(method);
    const Real peak = sites[reach][reach];
    if (!(peak > 0)) return {0, 0};
    const auto at = [&](int dy, int dx) {  // below a thousandth of the peak a logarithm would tell of noise
        return static_cast<Real>(log(most(sites[reach + dy][reach + dx], static_cast<Real>(1e-3) * peak)));
    };
    const Real dx = (at(0, 1) - at(0, -1)) / 2, dy = (at(1, 0) - at(-1, 0)) / 2;
    const Real xx = (at(0, reach) - 2 * at(0, 0) + at(0, -reach)) / static_cast<Real>(reach * reach);
    const Real yy = (at(reach, 0) - 2 * at(0, 0) + at(-reach, 0)) / static_cast<Real>(reach * reach);
    const Real xy = method == DARK
                        ? (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1)) / 4
                        : (at(1, 1) - at(0, 1) - at(1, 0) + 2 * at(0, 0) - at(0, -1) - at(-1, 0) + at(-1, -1)) / 2;
    const Real determinant = xx * yy - xy * xy;
    if (!(xx < 0 && determinant > 0)) return {0, 0};
    const Real longest = 1;  // cells: a step that goes further left the peak that it started from
    return {clamped((xy * dy - yy * dx) / determinant, -longest, longest),
            clamped((xy * dx - xx * dy) / determinant, -longest, longest)};
}

// A point in cells to crop px, on one axis. In float, as the definition has it.
LEHRNET_BOTH float to_crop(int cell, float step, float factor, float offset) {
    return (static_cast<float>(cell) + step) * factor + offset;
}

}  // namespace lehrnet
