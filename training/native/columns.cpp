// The first columns of rows and the rest of them: what LConv needs beside products. A row is a cell of a batch's
// channels-last map, and its columns are the channels.
#include <initializer_list>

#include "lanes.h"

namespace lehrnet {
namespace {

// Bytes of `from` to `to`, each row in pieces of one size that registers hold.
template <int PIECE>
void copy(Index begin, Index end, Index bytes, const char* from, Index from_pitch, char* to, Index to_pitch) {
    for (Index r = begin; r < end; ++r) {
        for (Index b = 0; b < bytes; b += PIECE) std::memcpy(to + r * to_pitch + b, from + r * from_pitch + b, PIECE);
    }
}

using Copy = void (*)(Index, Index, Index, const char*, Index, char*, Index);

Copy copy_of(Index bytes) {
    if (bytes % 64 == 0) return copy<64>;
    if (bytes % 16 == 0) return copy<16>;
    if (bytes % 4 == 0) return copy<4>;
    return copy<2>;
}

// A map of `height` x `width` cells, each of which stands for 2x2 of another map.
struct Grid {
    Index images, height, width, channels, first;  // first: the first channel that is pooled
    std::int32_t threads;

    Index upper(Index row, Index x) const { return (2 * row * 2 * width + 2 * x) * channels; }
};

template <class S, class T>
void pool(const Grid& g, const S* x, S* out) {
    const Index below = 2 * g.width * g.channels, rest = g.channels - g.first;
#pragma omp parallel for schedule(static) num_threads(g.threads)
    for (Index row = 0; row < g.images * g.height; ++row) {
        for (Index column = 0; column < g.width; ++column) {
            const S* const from = x + g.upper(row, column) + g.first;
            S* const to = out + (row * g.width + column) * g.channels + g.first;
            strips<T>(rest, [&](Index c, auto width) {
                using Part = Strip<T, decltype(width)::value>;
                Part sum = Part::at(from + c);
                const Part right = Part::at(from + g.channels + c), lower = Part::at(from + below + c),
                           last = Part::at(from + below + g.channels + c);
                for (int k = 0; k < Part::COUNT; ++k) {
                    sum.of[k] = (sum.of[k] + right.of[k] + lower.of[k] + last.of[k]) * static_cast<T>(0.25);
                }
                sum.to(to + c);
            });
        }
    }
}

template <class S, class T>
void spread(const Grid& g, const S* grad, S* grad_x) {
    const Index below = 2 * g.width * g.channels, rest = g.channels - g.first;
#pragma omp parallel for schedule(static) num_threads(g.threads)
    for (Index row = 0; row < g.images * g.height; ++row) {
        for (Index column = 0; column < g.width; ++column) {
            const S* const from = grad + (row * g.width + column) * g.channels + g.first;
            S* const to = grad_x + g.upper(row, column) + g.first;
            strips<T>(rest, [&](Index c, auto width) {
                using Part = Strip<T, decltype(width)::value>;
                Part share = Part::at(from + c);
                for (int k = 0; k < Part::COUNT; ++k) share.of[k] *= static_cast<T>(0.25);
                for (const Index at : {Index{0}, g.channels, below, below + g.channels}) share.to(to + at + c);
            });
        }
    }
}

constexpr Index ROWS = 256;  // of a block whose two parts are written one after the other, in cache

}  // namespace
}  // namespace lehrnet

using lehrnet::Index;

// `bytes` of each row; a pitch is the bytes from a row to the next.
LEHRNET_EXPORT void lehrnet_copy_columns(Index rows, Index bytes, const void* from, Index from_pitch, void* to,
                                         Index to_pitch, std::int32_t threads) {
    const auto copy = lehrnet::copy_of(bytes);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (Index r = 0; r < rows; r += lehrnet::ROWS) {
        const Index end = r + lehrnet::ROWS < rows ? r + lehrnet::ROWS : rows;
        copy(r, end, bytes, static_cast<const char*>(from), from_pitch, static_cast<char*>(to), to_pitch);
    }
}

// Rows of `pitch` bytes: the first `bytes` of each are a row of `first`, the rest is that of `whole`.
LEHRNET_EXPORT void lehrnet_join_columns(Index rows, Index bytes, const void* first, const void* whole, Index pitch, void* to,
                                         std::int32_t threads) {
    const auto copy_first = lehrnet::copy_of(bytes), copy_rest = lehrnet::copy_of(pitch - bytes);
    char* const out = static_cast<char*>(to);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (Index r = 0; r < rows; r += lehrnet::ROWS) {
        const Index end = r + lehrnet::ROWS < rows ? r + lehrnet::ROWS : rows;
        copy_first(r, end, bytes, static_cast<const char*>(first), bytes, out, pitch);
        copy_rest(r, end, pitch - bytes, static_cast<const char*>(whole) + bytes, pitch, out + bytes, pitch);
    }
}

// Means over 2x2 of the channels from the first on. The grid is that of `out`.
LEHRNET_EXPORT void lehrnet_pool_columns(const lehrnet::Grid* grid, std::int32_t type, const void* x, void* out) {
    using namespace lehrnet;
    if (type == FLOAT32) pool<float, float>(*grid, static_cast<const float*>(x), static_cast<float*>(out));
    if (type == BFLOAT16) pool<BFloat16, float>(*grid, static_cast<const BFloat16*>(x), static_cast<BFloat16*>(out));
    if (type == FLOAT64) pool<double, double>(*grid, static_cast<const double*>(x), static_cast<double*>(out));
}

// Their gradient: a quarter of it to each of the four cells. The grid is that of `grad`.
LEHRNET_EXPORT void lehrnet_spread_columns(const lehrnet::Grid* grid, std::int32_t type, const void* grad, void* grad_x) {
    using namespace lehrnet;
    if (type == FLOAT32) spread<float, float>(*grid, static_cast<const float*>(grad), static_cast<float*>(grad_x));
    if (type == BFLOAT16) {
        spread<BFloat16, float>(*grid, static_cast<const BFloat16*>(grad), static_cast<BFloat16*>(grad_x));
    }
    if (type == FLOAT64) spread<double, double>(*grid, static_cast<const double*>(grad), static_cast<double*>(grad_x));
}
