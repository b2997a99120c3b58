// EMA with lanes as groups (lehrnet/model/ema.py): nothing is ever summed across lanes. Compiled for each set of
// instructions.
#include "vectors.h"

namespace lehrnet::native {
namespace {

// Sums over rows and columns, then in their place the gates; each by channel of the group, then line.
struct Lines {
    float *row_sums, *column_sums, *row_gates, *column_gates;
};

// What weighs the gated map and what stays constant, by channel.
struct Weighing {
    Vector factor[MOST_IN_GROUP], constant;
};

Lines lines_in(const Attend& task) {
    const Index rows = task.height * task.group * LANES, columns = task.width * task.group * LANES;
    float* const work = task.work;
    return {work, work + rows, work + rows + columns, work + 2 * rows + columns};
}

void sum_lines(const Attend& task, const Lines& lines) {
    for (Index o = 0; o < task.group; ++o) {
        const float* const map = task.map + o * task.channel;
        float* const columns = lines.column_sums + o * task.width * LANES;
        for (Index x = 0; x < task.width; ++x) store(columns + x * LANES, Vector{});
        for (Index y = 0; y < task.height; ++y) {
            const float* from = map + y * task.row;
            Vector even{}, odd{};
            for (Index x = 0; x < task.width; ++x, from += task.cell) {
                const Vector value = load(from);
                store(columns + x * LANES, load(columns + x * LANES) + value);
                (x % 2 ? odd : even) += value;
            }
            store(lines.row_sums + (o * task.height + y) * LANES, even + odd);
        }
    }
}

// sigmoid(gate * mean + bias) of each line, from sums over `cells` cells.
void gate(const Attend& task, const float* sums, Index count, Index cells, float* gates) {
    const float share = 1.0f / static_cast<float>(cells);
    for (Index o = 0; o < task.group; ++o) {
        for (Index line = 0; line < count; ++line) {
            Vector sum{};
            for (Index i = 0; i < task.group; ++i) {
                sum += task.gate[o * task.group + i] * load(sums + (i * count + line) * LANES);
            }
            store(gates + (o * count + line) * LANES, sigmoid(sum * share + task.gate_bias[o]));
        }
    }
}

// Softmax over the group's channels of the 3x3 conv's spatial mean: a tap sees all cells but an edge's row and column.
void softmax(const Attend& task, const Lines& lines, Vector (&shares)[MOST_IN_GROUP]) {
    const float share = 1.0f / static_cast<float>(task.height * task.width);
    for (Index o = 0; o < task.group; ++o) shares[o] = every(task.mean_bias[o]);
    for (Index i = 0; i < task.group && task.group > 1; ++i) {
        const float *const rows = lines.row_sums + i * task.height * LANES, *const columns = lines.column_sums + i * task.width * LANES;
        Vector total{};
        for (Index y = 0; y < task.height; ++y) total += load(rows + y * LANES);
        for (int k = 0; k < 9; ++k) {
            const int above = k / 3, before = k % 3;
            const Index y = above == 0 ? task.height - 1 : 0, x = before == 0 ? task.width - 1 : 0;  // what it does not see
            Vector seen = total;
            if (above != 1) seen -= load(rows + y * LANES);
            if (before != 1) seen -= load(columns + x * LANES);
            if (above != 1 && before != 1) seen += load(task.map + y * task.row + x * task.cell + i * task.channel);
            for (Index o = 0; o < task.group; ++o) shares[o] += task.mean[(o * task.group + i) * 9 + k] * share * seen;
        }
    }
    Vector highest = shares[0], total{};
    for (Index o = 1; o < task.group; ++o) highest = larger(highest, shares[o]);
    for (Index o = 0; o < task.group; ++o) total += shares[o] = exponential(shares[o] - highest);
    for (Index o = 0; o < task.group; ++o) shares[o] /= total;
}

struct Moments {
    Vector mean, variance;
};

// Of the gated map's channel o, in two passes and by rows: sums of squares alone would cancel.
Moments moments(const Attend& task, const Lines& lines, Index o) {
    const float share = 1.0f / static_cast<float>(task.height * task.width);
    const float* const columns = lines.column_gates + o * task.width * LANES;
    Vector total{}, squares{};
    for (Index y = 0; y < task.height; ++y) {
        const float* from = task.map + y * task.row + o * task.channel;
        Vector even{}, odd{};
        for (Index x = 0; x < task.width; ++x, from += task.cell) (x % 2 ? odd : even) += load(from) * load(columns + x * LANES);
        total += (even + odd) * load(lines.row_gates + (o * task.height + y) * LANES);
    }
    const Vector mean = total * share;
    for (Index y = 0; y < task.height; ++y) {
        const float* from = task.map + y * task.row + o * task.channel;
        const Vector row = load(lines.row_gates + (o * task.height + y) * LANES);
        Vector even{}, odd{};
        for (Index x = 0; x < task.width; ++x, from += task.cell) {
            const Vector apart = load(from) * (row * load(columns + x * LANES)) - mean;
            (x % 2 ? odd : even) += apart * apart;
        }
        squares += even + odd;
    }
    return {mean, squares * share};
}

Weighing weighing(const Attend& task, const Lines& lines) {
    Vector shares[MOST_IN_GROUP];
    softmax(task, lines, shares);
    Weighing found;
    found.constant = every(task.local_bias[0]);
    for (Index o = 0; o < task.group; ++o) {
        const Moments of = moments(task, lines, o);
        found.factor[o] = shares[o] * task.scale[o] / root(of.variance + task.eps);
        found.constant += shares[o] * task.shift[o] - found.factor[o] * of.mean;
    }
    return found;
}

// Logits of CELLS neighbours of row y from column x on: the 3x3 conv of every channel, the gated map in its middle.
template <int CELLS>
LEHRNET_INLINE void logits(const Attend& task, const Lines& lines, const Weighing& by, Index y, Index x, Vector (&sums)[CELLS]) {
    for (int i = 0; i < CELLS; ++i) sums[i] = by.constant;
    for (Index o = 0; o < task.group; ++o) {
        const float* const middle = task.map + y * task.row + (x - 1) * task.cell + o * task.channel;
        const float *const above = middle - task.row, *const below = middle + task.row, *const k = task.local + 9 * o;
        const float* const columns = lines.column_gates + (o * task.width + x) * LANES;
        const Vector row = by.factor[o] * load(lines.row_gates + (o * task.height + y) * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < CELLS; ++i) {
            const Vector own = row * load(columns + i * LANES) + k[4];
            sums[i] += own * load(middle + (i + 1) * task.cell);
#pragma GCC unroll 3
            for (int z = 0; z < 3; ++z) {
                sums[i] += k[z] * load(above + (i + z) * task.cell);
                sums[i] += k[6 + z] * load(below + (i + z) * task.cell);
            }
            sums[i] += k[3] * load(middle + i * task.cell);
            sums[i] += k[5] * load(middle + (i + 2) * task.cell);
        }
    }
}

// out = ReLU(map * weight + shortcut) of one cell.
template <bool WHOLE>
LEHRNET_INLINE void finish(const Attend& task, Vector weight, Index y, Index x) {
    const float* const map = task.map + y * task.row + x * task.cell;
    const Index at = y * task.out_row + x * task.out_cell;
    for (Index o = 0; o < task.group; ++o) {
        const Vector weighed = load(map + o * task.channel) * weight;
        for (Index r = 0; r < (WHOLE ? 1 : task.run_count); ++r) {
            const Run& run = task.runs[r];
            const Index to = at + o * run.channel;
            if (WHOLE) {
                store(run.out + to, rectified(weighed + load(run.shortcut + to)));
            } else {
                const Vector shortcut = load_some(run.shortcut + to, run.first, run.count);
                store_some(run.out + to, rectified(weighed + shortcut), run.first, run.count);
            }
        }
    }
}

template <bool WHOLE, int CELLS>
LEHRNET_INLINE void weigh_cells(const Attend& task, const Lines& lines, const Weighing& by, Index y, Index x) {
    Vector sums[CELLS];
    logits(task, lines, by, y, x, sums);
#pragma GCC unroll 8
    for (int i = 0; i < CELLS; ++i) finish<WHOLE>(task, sigmoid(sums[i]), y, x + i);
}

template <bool WHOLE>
void weigh(const Attend& task, const Lines& lines, const Weighing& by) {
    constexpr int CELLS = 6;
    for (Index y = 0; y < task.height; ++y) {
        Index x = 0;
        for (; x + CELLS <= task.width; x += CELLS) weigh_cells<WHOLE, CELLS>(task, lines, by, y, x);
        for (; x < task.width; ++x) weigh_cells<WHOLE, 1>(task, lines, by, y, x);
    }
}

}  // namespace

namespace LEHRNET_INSTRUCTIONS {

void attend(const Attend& task);
void attend(const Attend& task) {
    const Lines lines = lines_in(task);
    sum_lines(task, lines);
    gate(task, lines.row_sums, task.height, task.width, lines.row_gates);
    gate(task, lines.column_sums, task.width, task.height, lines.column_gates);
    const Weighing by = weighing(task, lines);
    if (task.run_count == 1 && task.runs[0].count == LANES) weigh<true>(task, lines, by);
    else weigh<false>(task, lines, by);
}

}  // namespace LEHRNET_INSTRUCTIONS
}  // namespace lehrnet::native
