// The one inner loop of all convolutions, and the mean over 2x2 cells. Compiled for each set of instructions.
#include "integers.h"

namespace lehrnet::native {
namespace {

// Six cells fill AVX2's sixteen registers with twelve sums. With AVX-512's 32, twelve cells of two vectors and six of four
// measured the same: loads are not what it waits for.
constexpr int CELLS = 6;
#if defined(__ARM_NEON)
constexpr int PANEL = 4;  // 24 sums of 32 registers, each of four floats
#else
constexpr int PANEL = 2;
#endif
constexpr int CELLS_OF_ONE = 12;  // where a panel is one vector wide: enough sums to hide a multiplier's latency
static_assert(CELLS_OF_ONE % CELLS == 0);

// sums[i][v] += cells[i][j] * weights[j][v] for the tap's j; returns what is behind its weights.
template <int C, int P>
LEHRNET_INLINE const float* accumulate(Vector (&sums)[C][P], const float* const* cells, Tap tap, const float* weights) {
    const float* from[C];
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i) from[i] = cells[i];
#pragma GCC unroll 2
    for (Index j = tap.first; j < tap.first + tap.count; ++j) {
        Vector row[P];
#pragma GCC unroll 4
        for (int v = 0; v < P; ++v) row[v] = load(weights + v * LANES);
#pragma GCC unroll 16
        for (int i = 0; i < C; ++i) {
            const Vector value = every(from[i][j]);
#pragma GCC unroll 4
            for (int v = 0; v < P; ++v) sums[i][v] += value * row[v];
        }
        weights += P * LANES;
    }
    return weights;
}

// C cells from `first` on, P vectors of their channels from `channel` on.
template <int C, int P>
LEHRNET_INLINE void tile(const Convolve& task, Index first, Index channel, const float* weights) {
    Vector sums[C][P];
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < P; ++v) sums[i][v] = load(task.bias + channel + v * LANES);
    }
    for (Index s = 0; s < task.source_count; ++s) {
        const Source& source = task.sources[s];
        for (Index t = 0; t < source.tap_count; ++t) weights = accumulate(sums, source.cells + first, source.taps[t], weights);
    }
    for (Index a = 0; a < task.addend_count; ++a) {
        const float* const* const addends = task.addends[a] + first;
#pragma GCC unroll 16
        for (int i = 0; i < C; ++i) {
#pragma GCC unroll 4
            for (int v = 0; v < P; ++v) sums[i][v] += load(addends[i] + channel + v * LANES);
        }
    }
    float* const* const out = task.out + first;
#pragma GCC unroll 16
    for (int i = 0; i < C; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < P; ++v) store(out[i] + channel + v * LANES, task.rectify ? rectified(sums[i][v]) : sums[i][v]);
    }
}

// P vectors of all cells; returns the next panel.
template <int C, int P>
const float* panel(const Convolve& task, Index channel, const float* weights) {
    const Index size = task.depth * P * LANES;
    const char* ahead = reinterpret_cast<const char*>(weights + size);
    const Index tiles = (task.cells + C - 1) / C, lines = (size / 16 + tiles - 1) / tiles;
    for (Index i = 0; i < task.cells; i += C) {
        // The next panel's weights, behind these, are on their way while these are used.
        for (Index line = 0; line < lines; ++line, ahead += 64) __builtin_prefetch(ahead, 0, 2);
        tile<C, P>(task, i, channel, weights);
    }
    return weights + size;
}

void convolve(const Convolve& task) {
    const float* weights = task.panels;
    Index v = 0;
    for (; v + PANEL <= task.vectors; v += PANEL) weights = panel<CELLS, PANEL>(task, v * LANES, weights);
    if (PANEL > 2 && task.vectors - v >= 2) {
        weights = panel<CELLS, 2>(task, v * LANES, weights);
        v += 2;
    }
    if (v < task.vectors) panel<CELLS_OF_ONE, 1>(task, v * LANES, weights);
}

void average(const Average& task) {
    for (Index i = 0; i < task.cells; ++i) {
        const float *const upper = task.in[i], *const lower = upper + task.row;
        for (Index n = 0; n < task.channels; n += LANES) {
            const Vector above = load(upper + n) + load(upper + task.cell + n);
            const Vector below = load(lower + n) + load(lower + task.cell + n);
            store(task.out[i] + n, (above + below) * 0.25f);
        }
    }
}

// Twelve chains: as many as the convolution's narrowest tile.
float multiply_add(Index count) {
    Vector sums[12];
    Vector factor = every(0.999f);
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) sums[i] = every(static_cast<float>(i));
    for (Index done = 0; done < count; done += 12) {
        asm volatile("" : "+m"(factor));  // else it would be worked out beforehand
        const Vector by = factor;
#pragma GCC unroll 12
        for (int i = 0; i < 12; ++i) sums[i] = sums[i] * by + by;
    }
    Vector sum{};
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) sum += sums[i];
    return sum[0];
}

}  // namespace

namespace LEHRNET_INSTRUCTIONS {

void attend(const Attend& task);  // attend.cpp
void convolve_bytes(const ByteConvolve& task);  // bytes.cpp
void quantize(const Quantize& task);
void average_bytes(const ByteAverage& task);

#define LEHRNET_NAMED(name) #name
#define LEHRNET_NAME(name) LEHRNET_NAMED(name)
extern const Kernels kernels;
const Kernels kernels = {LEHRNET_NAME(LEHRNET_INSTRUCTIONS), LANES, PANEL, CELLS_OF_ONE, convolve, average, attend,
                         NEGATIVE_OFFSET, convolve_bytes, quantize, average_bytes, multiply_add};

}  // namespace LEHRNET_INSTRUCTIONS
}  // namespace lehrnet::native
