// Convolutions of bytes, and what turns floats to bytes. Compiled for each set of instructions; convolve.cpp has the same
// tiles of floats.
#include "integers.h"

namespace lehrnet::native {
namespace {

constexpr int CELLS = 6, CELLS_OF_ONE = 12;  // as many sums as convolve.cpp's
#if defined(__ARM_NEON)
constexpr int PANEL = 4;
#else
constexpr int PANEL = 2;
#endif
constexpr int FOUR = 4, WORDS = FOUR * LANES;  // bytes in a lane, and in a vector

// sums[i][v] += four bytes of cells[i] x weights[v], for all of the tap; returns what is behind its weights.
template <int C, int P, bool NEGATIVE>
LEHRNET_INLINE const std::int8_t* accumulate(Bits (&sums)[C][P], const std::uint8_t* const* cells, Tap tap, const std::int8_t* weights) {
    const std::uint8_t* from[C];
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i) from[i] = cells[i];
    for (Index j = tap.first; j < tap.first + tap.count; j += FOUR) {
        Bits row[P];
#pragma GCC unroll 4
        for (int v = 0; v < P; ++v) row[v] = load_bits(weights + v * LANES * FOUR);
#pragma GCC unroll 16
        for (int i = 0; i < C; ++i) {
            const Bits numbers = every_four(from[i] + j);
#pragma GCC unroll 4
            for (int v = 0; v < P; ++v) sums[i][v] = add_products<NEGATIVE>(sums[i][v], numbers, row[v]);
        }
        weights += P * LANES * FOUR;
    }
    return weights;
}

template <int C, int P>
LEHRNET_INLINE void add_sources(const ByteConvolve& task, Index first, const std::int8_t* weights, Bits (&sums)[C][P]) {
    for (Index s = 0; s < task.source_count; ++s) {
        const ByteSource& source = task.sources[s];
        const std::uint8_t* const* const cells = source.cells + first;
        for (Index t = 0; t < source.tap_count; ++t) {
            weights = source.negative ? accumulate<C, P, true>(sums, cells, source.taps[t], weights)
                                      : accumulate<C, P, false>(sums, cells, source.taps[t], weights);
        }
    }
}

// Value[i][v] of C cells from `first` on, of P vectors of their channels from `channel` on.
template <int C, int P>
LEHRNET_INLINE void add_floats(const ByteConvolve& task, Index first, Index channel, Vector (&values)[C][P]) {
    for (Index a = 0; a < task.addend_count; ++a) {
        const float* const* const addends = task.addends[a] + first;
#pragma GCC unroll 16
        for (int i = 0; i < C; ++i) {
#pragma GCC unroll 4
            for (int v = 0; v < P; ++v) values[i][v] += load(addends[i] + channel + v * LANES);
        }
    }
    if (!task.rectify) return;
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < P; ++v) values[i][v] = rectified(values[i][v]);
    }
}

template <int C, int P>
LEHRNET_INLINE void store_bytes(const ByteConvolve& task, Index first, Index channel, const Vector (&values)[C][P]) {
    const float least = task.rectify ? 0 : -MOST_STEPS, steps = task.steps;
    const int offset = task.rectify ? 0 : NEGATIVE_OFFSET;
    std::uint8_t* to[C];  // before anything is stored: bytes might be pointers, for all that the compiler knows
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i) to[i] = task.bytes[first + i] + channel;
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < P; ++v) store_steps(to[i] + v * LANES, values[i][v] * steps, least, offset);
    }
}

template <int C, int P>
LEHRNET_INLINE void tile(const ByteConvolve& task, Index first, Index channel, const std::int8_t* weights) {
    Bits sums[C][P];
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < P; ++v) sums[i][v] = load_bits(task.start + channel + v * LANES);
    }
    add_sources(task, first, weights, sums);
    Vector values[C][P];
#pragma GCC unroll 4
    for (int v = 0; v < P; ++v) {
        const Vector factor = load(task.factors + channel + v * LANES), bias = load(task.bias + channel + v * LANES);
#pragma GCC unroll 16
        for (int i = 0; i < C; ++i) values[i][v] = __builtin_convertvector(sums[i][v], Vector) * factor + bias;
    }
    add_floats(task, first, channel, values);
    if (task.out) {
        float* const* const out = task.out + first;
#pragma GCC unroll 16
        for (int i = 0; i < C; ++i) {
#pragma GCC unroll 4
            for (int v = 0; v < P; ++v) store(out[i] + channel + v * LANES, values[i][v]);
        }
    }
    if (task.bytes) store_bytes(task, first, channel, values);
}

// P vectors of all cells; returns the next panel.
template <int C, int P>
const std::int8_t* panel(const ByteConvolve& task, Index channel, const std::int8_t* weights) {
    for (Index i = 0; i < task.cells; i += C) tile<C, P>(task, i, channel, weights);
    return weights + task.depth * P * LANES * FOUR;
}

}  // namespace

namespace LEHRNET_INSTRUCTIONS {

void convolve_bytes(const ByteConvolve& task);
void convolve_bytes(const ByteConvolve& task) {
    const std::int8_t* weights = task.panels;
    Index v = 0;
    for (; v + PANEL <= task.vectors; v += PANEL) weights = panel<CELLS, PANEL>(task, v * LANES, weights);
    if (PANEL > 2 && task.vectors - v >= 2) {
        weights = panel<CELLS, 2>(task, v * LANES, weights);
        v += 2;
    }
    if (v < task.vectors) panel<CELLS_OF_ONE, 1>(task, v * LANES, weights);
}

void quantize(const Quantize& task);
void quantize(const Quantize& task) {
    const Index floats = task.vectors * LANES;
    const float steps = task.steps;
    for (Index i = 0; i < task.cells; ++i) {
        const float* const from = task.in[i];
        std::uint8_t* const to = task.out[i];
        for (Index n = 0; n < floats; n += LANES) store_steps(to + n, load(from + n) * steps, 0, 0);
    }
}

// Every second byte of a word at a time, which leaves room for the sum of four.
void average_bytes(const ByteAverage& task);
void average_bytes(const ByteAverage& task) {
    constexpr std::int32_t seconds = 0x00FF00FF, halves = 0x00020002;
    const ByteAverage by = task;
    for (Index i = 0; i < by.cells; ++i) {
        const std::uint8_t *const upper = by.in[i], *const lower = upper + by.row;
        std::uint8_t* const to = by.out[i];
        for (Index n = 0; n < by.channels; n += WORDS) {
            const Bits words[] = {load_bits(upper + n), load_bits(upper + by.cell + n), load_bits(lower + n), load_bits(lower + by.cell + n)};
            Bits even = Bits{} + halves, odd = even;
            for (const Bits each : words) even += each & seconds, odd += each >> 8 & seconds;
            store_bits(to + n, (even >> 2 & seconds) | (odd >> 2 & seconds) << 8);
        }
    }
}

}  // namespace LEHRNET_INSTRUCTIONS
}  // namespace lehrnet::native
