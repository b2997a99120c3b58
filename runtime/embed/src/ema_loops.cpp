// The loops of ema_group, in a namespace of their own for each set of instructions that this file is compiled for.
//
// No templates of the standard library: the linker keeps one copy of those, and it must not be the one with AVX2.
#include <cmath>

#include "ema.h"

#ifndef LEHRNET_LOOPS
#define LEHRNET_LOOPS plain
#endif

namespace lehrnet::LEHRNET_LOOPS {
namespace {

using Index = std::int64_t;

union Pun {
    float value;
    std::uint32_t bits;
};

// Within 2e-7 of exp, in operations that compilers turn into vectors (Cephes' expf).
inline float fast_exp(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    // Added to 1.5 * 2^23 a number is rounded, and stands in the lowest bits. NaN comes out by way of r: a conversion to
    // an integer would have no value for it.
    constexpr float rounder = 12582912.0f;
    constexpr std::uint32_t rounder_bits = 0x4B400000;
    Pun shifted, power;
    shifted.value = x * 1.44269504f + rounder;
    const float n = shifted.value - rounder;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1;
    power.bits = (shifted.bits - rounder_bits + 127) << 23;
    return y * power.value;
}

inline void fill(float* to, Index count, float value) {
    for (Index i = 0; i < count; ++i) to[i] = value;
}

inline void to_sigmoid(float* values, Index count) {
#pragma omp simd
    for (Index i = 0; i < count; ++i) values[i] = 1 / (1 + fast_exp(-values[i]));
}

// sigmoid(bias + weights * means) of every row, or of every column: (c, lines) from (c, lines).
void gate(const Ema& ema, const float* means, Index lines, float* gates) {
    for (Index out = 0; out < ema.channels; ++out) {
        float* const to = gates + out * lines;
        fill(to, lines, ema.gate_bias[out]);
        for (Index in = 0; in < ema.channels; ++in) {
            const float weight = ema.gate[out * ema.channels + in], *const from = means + in * lines;
#pragma omp simd
            for (Index i = 0; i < lines; ++i) to[i] += weight * from[i];
        }
    }
    to_sigmoid(gates, ema.channels * lines);
}

// The map with a border of zeros, and the means of its rows and columns.
void load(const Ema& ema, const float* x, float* map, float* rows, float* columns) {
    const Index width = ema.width, pitch = width + 2;
    fill(map, pitch, 0);
    fill(map + (ema.height + 1) * pitch, pitch, 0);
    fill(columns, width, 0);
    for (Index y = 0; y < ema.height; ++y) {
        const float* const from = x + y * width;
        float* const to = map + (y + 1) * pitch;
        to[0] = to[width + 1] = 0;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (Index z = 0; z < width; ++z) {
            to[z + 1] = from[z];
            columns[z] += from[z];
            sum += from[z];
        }
        rows[y] = sum / static_cast<float>(width);
    }
    for (Index z = 0; z < width; ++z) columns[z] /= static_cast<float>(ema.height);
}

// softmax over the group's channels of the 3x3 conv's spatial mean: each tap sees all cells but an edge row and column.
void softmax(const Ema& ema, const float* x, const float* rows, const float* columns, float* share) {
    const Index c = ema.channels, width = ema.width, height = ema.height;
    const auto in_row = static_cast<float>(width), in_column = static_cast<float>(height);
    for (Index out = 0; out < c; ++out) share[out] = ema.mean_bias[out];
    for (Index in = 0; in < c && c > 1; ++in) {
        const float *const row = rows + in * height, *const column = columns + in * width, *const map = x + in * height * width;
        float total = 0;
        for (Index y = 0; y < height; ++y) total += row[y];
        total *= in_row;
        for (int k = 0; k < 9; ++k) {
            const int ky = k / 3, kx = k % 3;
            const Index y = ky == 0 ? height - 1 : 0, z = kx == 0 ? width - 1 : 0;  // the row and column left out
            float sum = total;
            if (ky != 1) sum -= row[y] * in_row;
            if (kx != 1) sum -= column[z] * in_column;
            if (ky != 1 && kx != 1) sum += map[y * width + z];
            for (Index out = 0; out < c; ++out) share[out] += ema.mean[(out * c + in) * 9 + k] * sum;
        }
    }
    float highest = share[0], total = 0;
    for (Index i = 1; i < c; ++i) highest = share[i] > highest ? share[i] : highest;
    for (Index i = 0; i < c; ++i) total += share[i] = fast_exp(share[i] - highest);
    for (Index i = 0; i < c; ++i) share[i] /= total;
}

struct Moments {
    double mean, variance;
};

// The gated map, with the border's width, and its moments.
Moments gate_map(const Ema& ema, const float* x, const float* row_gates, const float* column_gates, float* gated) {
    const Index width = ema.width, pitch = width + 2;
    double total = 0, squares = 0;
    for (Index y = 0; y < ema.height; ++y) {
        const float* const from = x + y * width;
        float* const to = gated + (y + 1) * pitch + 1;
        const float of_row = row_gates[y];
        float sum = 0, square = 0;
#pragma omp simd reduction(+ : sum, square)
        for (Index z = 0; z < width; ++z) {
            const float value = from[z] * of_row * column_gates[z];
            to[z] = value;
            sum += value;
            square += value * value;
        }
        to[-1] = to[width] = 0;
        total += sum;
        squares += square;
    }
    const auto cells = static_cast<double>(ema.height * width);
    const double mean = total / cells, variance = squares / cells - mean * mean;
    return {mean, variance > 0 ? variance : 0};
}

}  // namespace

void ema_group(const Ema& ema, const float* x, const float* shortcut, float* out, float* work) {
    const Index c = ema.channels, height = ema.height, width = ema.width, cells = height * width;
    const Index pitch = width + 2, padded = (height + 2) * pitch, inner = height * pitch - 2;
    float* const maps = work;
    float* const gated = maps + c * padded;
    float* const rows = gated + c * padded;
    float* const columns = rows + c * height;
    float* const row_gates = columns + c * width;
    float* const column_gates = row_gates + c * height;
    float* const share = column_gates + c * width;
    float* const logits = share + c;

    for (Index i = 0; i < c; ++i) load(ema, x + i * cells, maps + i * padded, rows + i * height, columns + i * width);
    gate(ema, rows, height, row_gates);
    gate(ema, columns, width, column_gates);
    softmax(ema, x, rows, columns, share);

    // From the first inner cell to the last in one run: what falls on the border between rows is computed and not used.
    fill(logits, inner, ema.local_bias[0]);
    for (Index i = 0; i < c; ++i) {
        float* const own = gated + i * padded;
        const Moments moments = gate_map(ema, x + i * cells, row_gates + i * height, column_gates + i * width, own);
        const float factor = share[i] * ema.scale[i] / sqrtf(static_cast<float>(moments.variance) + ema.eps);
        const float constant = share[i] * ema.shift[i] - factor * static_cast<float>(moments.mean);
        const float *const above = maps + i * padded, *const here = above + pitch, *const below = here + pitch;
        const float *const k = ema.local + 9 * i, *const weighed = own + pitch + 1;
#pragma omp simd
        for (Index p = 0; p < inner; ++p) {
            logits[p] += constant + factor * weighed[p] + k[0] * above[p] + k[1] * above[p + 1] + k[2] * above[p + 2] +
                         k[3] * here[p] + k[4] * here[p + 1] + k[5] * here[p + 2] + k[6] * below[p] + k[7] * below[p + 1] +
                         k[8] * below[p + 2];
        }
    }
    to_sigmoid(logits, inner);
    for (Index i = 0; i < c; ++i) {
        for (Index y = 0; y < height; ++y) {
            const Index at = i * cells + y * width;
            const float* const weights = logits + y * pitch;
#pragma omp simd
            for (Index z = 0; z < width; ++z) {
                const float value = x[at + z] * weights[z] + shortcut[at + z];
                out[at + z] = value < 0 ? 0 : value;  // NaN stays, and is noticed at the end
            }
        }
    }
}

}  // namespace lehrnet::LEHRNET_LOOPS
