// What the loops of the engine are told: pointers and counts, nothing that needs the standard library. The loops are
// compiled once for each set of instructions (CMakeLists.txt), and each compilation gives one `Kernels`.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lehrnet::native {

using Index = std::ptrdiff_t;

// A piece of a convolution's sum: `count` floats from `first` floats behind a cell on; or bytes, of which sums of bytes
// take four at once.
struct Tap {
    Index first, count;
};

// What a convolution reads: for every cell of its output a pointer to where its taps are counted from.
struct Source {
    const float* const* cells;
    const Tap* taps;
    Index tap_count;
};

// out[cell] = act(bias + weights x taps of all sources + addends[cell]), channels last.
//
// The tables of pointers hold `cells` entries and are filled up, with any that may be read and written once more, to a
// multiple of Kernels::cells_at_once. The weights stand in panels: all of the sum's depth for the first `panel` vectors
// of output channels, then for the next; the last panel holds what is left.
struct Convolve {
    Index cells;
    const Source* sources;
    Index source_count;
    const float* const* const* addends;
    Index addend_count;
    float* const* out;
    const float *panels, *bias;
    Index vectors, depth;
    bool rectify;
};

// out[cell] = the mean over 2x2 cells from each pointer on, `channels` rounded up to whole vectors.
struct Average {
    Index cells;
    const float* const* in;
    float* const* out;
    Index cell, row, channels;  // floats from a cell to the next, and to the row below
};

// A map of bytes holds its numbers in steps: 0 to 127, or where some are below 0, from -127 to 127 and
// Kernels::negative_offset added.
constexpr float MOST_STEPS = 127;

// What a sum of bytes reads.
struct ByteSource {
    const std::uint8_t* const* cells;
    const Tap* taps;
    Index tap_count;
    bool negative;  // its numbers may be below 0
};

// value[cell] = act(bias + factors * (start + weights x taps of all sources) + addends[cell]), the bracket in int32 and
// exact. It goes to `out`, where there is one, and in steps of 1 / `steps` to `bytes`, where there is one.
//
// Tables and panels are as for Convolve; `depth` counts groups of four bytes, whose weights for one output stand together.
struct ByteConvolve {
    Index cells;
    const ByteSource* sources;
    Index source_count;
    const float* const* const* addends;
    Index addend_count;
    float* const* out;
    std::uint8_t* const* bytes;
    const std::int8_t* panels;
    const std::int32_t* start;
    const float *factors, *bias;
    Index vectors, depth;
    bool rectify;
    float steps;
};

// out[cell] = in[cell] in steps of 1 / `steps`, rounded to the nearest and held between 0 and 127.
struct Quantize {
    Index cells;
    const float* const* in;
    std::uint8_t* const* out;
    Index vectors;
    float steps;
};

// out[cell] = the mean over 2x2 cells of bytes, rounded to the nearest, halves upwards; `channels` rounded up to vectors of
// four times as many bytes as floats.
struct ByteAverage {
    Index cells;
    const std::uint8_t* const* in;
    std::uint8_t* const* out;
    Index cell, row, channels;  // bytes
};

constexpr Index MOST_IN_GROUP = 8;  // channels: branch 3 has eight times the first one's

// Some neighbouring lanes of a vector of groups, and where they stand in maps of whose channels the first quarter is apart.
struct Run {
    Index first, count;  // lanes
    const float* shortcut;
    float* out;
    Index channel;  // floats from one channel of a group to the next
};

// EMA of one person's map for one vector of groups, the sum with the shortcut, and the ReLU.
//
// The map holds channel o of group g at o * channel + g, and a border of zeros around its cells.
struct Attend {
    const float* map;  // the first cell, the vector's first group
    Index height, width, cell, row, channel, group;  // floats from a cell to the next, ...; channels in a group
    const float *gate, *gate_bias, *local, *local_bias, *scale, *shift, *mean, *mean_bias;
    float eps;
    Run runs[2];
    Index run_count, out_cell, out_row;
    float* work;  // attend_work floats
};

// What Attend::work takes: sums and gates of rows and columns, each of the group's channels.
constexpr Index attend_work(Index height, Index width, Index group, Index lanes) {
    return 2 * (height + width) * group * lanes;
}

// A set of instructions.
struct Kernels {
    const char* name;
    Index lanes;          // floats in a vector
    Index panel;          // vectors in a panel
    Index cells_at_once;  // what tables of pointers are filled up to
    void (*convolve)(const Convolve&);
    void (*average)(const Average&);
    void (*attend)(const Attend&);
    int negative_offset;  // of bytes that hold numbers below 0: what multiplies them may want them from 0 on
    void (*convolve_bytes)(const ByteConvolve&);
    void (*quantize)(const Quantize&);
    void (*average_bytes)(const ByteAverage&);
    // Multiply-adds, in vectors, that depend on nothing but their own chain: for measuring what the machine can do.
    float (*multiply_add)(Index count);
};

}  // namespace lehrnet::native
