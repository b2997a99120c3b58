// Tables of pointers to cells, as the loops take them.
#pragma once

#include "steps.h"

namespace lehrnet::native {

constexpr Index MOST_SOURCES = 8, MOST_ADDENDS = 8;

inline void cell_of(const Worker& worker, const View& view, int row, float*& cell) { cell = worker.at(view, row); }
inline void cell_of(const Worker& worker, const View& view, int row, const float*& cell) { cell = worker.at(view, row); }
inline void cell_of(const Worker& worker, const View& view, int row, std::uint8_t*& cell) { cell = worker.bytes_at(view, row); }
inline void cell_of(const Worker& worker, const View& view, int row, const std::uint8_t*& cell) { cell = worker.bytes_at(view, row); }

// Pointers to cells of rows [from, to) of an output's grid, every `step`-th, in a grid that is `stride` times as fine.
template <class Pointer>
Pointer* fill(Pointer* table, const Worker& worker, const View& view, int from, int to, int width, int step, int stride) {
    for (int row = from; row < to; ++row) {
        Pointer first;
        cell_of(worker, view, row * stride, first);
        const Index apart = view.cell * step * stride;
        const int count = width / step;
        for (int i = 0; i < count; ++i) table[i] = first + i * apart;
        table += count;
    }
    return table;
}

// Likewise in a grid that was halved.
inline const float** fill_coarse(const float** table, const Worker& worker, const Addend& addend, int from, int to, int width) {
    for (int row = from; row < to; ++row) {
        const float* const first = worker.at(addend.view, row >> addend.halvings);
        for (int x = 0; x < width; ++x) *table++ = first + (x >> addend.halvings) * addend.view.cell;
    }
    return table;
}

// Filled up with its last pointer, whose cell is then done more than once. Returns what is behind.
template <class Pointer>
Pointer* filled_up(Pointer* begin, Pointer* end, Index multiple) {
    while ((end - begin) % multiple != 0) {
        *end = end[-1];
        ++end;
    }
    return end;
}

// One table behind the other in the memory that a worker has for them.
class Tables {
public:
    Tables(const Worker& worker, int from, int to, int width, int together)
        : worker_(worker), from_(from), to_(to), width_(width), together_(together), next_(worker.tables) {}

    template <class Pointer>
    Pointer* cells(const View& view, int stride) {
        auto* const table = static_cast<Pointer*>(next_);
        return taken(table, fill(table, worker_, view, from_, to_, width_, together_, stride));
    }
    const float* const* addend(const Addend& addend) {
        auto* const table = static_cast<const float**>(next_);
        return taken(table, fill_coarse(table, worker_, addend, from_, to_, width_));
    }
    Index count() const { return Index{to_ - from_} * (width_ / together_); }

private:
    template <class Pointer>
    Pointer* taken(Pointer* table, Pointer* end) {
        next_ = filled_up(table, end, worker_.kernels->cells_at_once);
        return table;
    }

    const Worker& worker_;
    const int from_, to_, width_, together_;
    void* next_;
};

}  // namespace lehrnet::native
