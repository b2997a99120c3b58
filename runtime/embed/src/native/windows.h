// What 3x3 convs see around a cell.
#pragma once

#include <vector>

#include "steps.h"

namespace lehrnet::native {

constexpr int TAPS = 3;  // of a kernel, each way

// Around a cell: 3 rows of `columns` cells, `count` numbers of each.
inline std::vector<Tap> cells_around(const View& view, int columns, Index count) {
    std::vector<Tap> taps;
    for (int y = -1; y < TAPS - 1; ++y) {
        for (int x = -1; x < columns - 1; ++x) taps.push_back({y * view.row + x * view.cell, count});
    }
    return taps;
}

// Likewise, a row's cells in one where nothing lies between them.
inline std::vector<Tap> window(const View& view, int columns, Index count) {
    if (view.cell != count) return cells_around(view, columns, count);
    std::vector<Tap> taps;
    for (int y = -1; y < TAPS - 1; ++y) taps.push_back({y * view.row - view.cell, columns * count});
    return taps;
}

// Which tap of a kernel that begins at column `first` is tap `tap` of a window this wide; -1 where it is none.
inline int seen_tap(int tap, int columns, int first) {
    const int column = tap % columns - first;
    return column >= 0 && column < TAPS ? tap / columns * TAPS + column : -1;
}

}  // namespace lehrnet::native
