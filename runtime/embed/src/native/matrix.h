// A convolution's weights: gathered row by row from the artefact's tensors, then laid in panels.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels.h"

namespace lehrnet::native {

// The network's channels in the order in which a map holds them; -1 for one that it holds and nobody reads.
using Order = std::vector<int>;

Order plain_order(int channels);

// All weights of a network, as the steps read them one after another.
class Weights {
public:
    // Where `count` floats stand from now on.
    Index add(const float* from, Index count);
    // Likewise other things of the same size.
    Index add_integers(const std::int32_t* from, Index count);
    Index add_fours(const std::array<std::int8_t, 4>* from, Index count);
    const std::vector<float>& all() const { return all_; }

private:
    std::vector<float> all_;
};

// A conv's weight as PyTorch has it: (out, in, size, size).
struct Kernel {
    const float* weight;
    int in, size;

    float at(int out_channel, int in_channel, int tap) const {
        return weight[(static_cast<std::size_t>(out_channel) * in + in_channel) * size * size + tap];
    }
};

// depth x outs: row k is what the k-th float that a cell's taps see gives to each output.
class Matrix {
public:
    explicit Matrix(Order outs) : outs_(std::move(outs)) {}

    // Rows of one tap of a kernel, for the inputs [from, to) of an order.
    void add_tap(const Kernel& kernel, int tap, const Order& ins, int from, int to);
    // A row that gives its input to one channel as it is.
    void add_unit(int channel);
    // A row as it stands: of as many floats as there are outputs.
    void add_row(const std::vector<float>& row);

    Index outs() const { return static_cast<Index>(outs_.size()); }
    Index depth() const { return static_cast<Index>(rows_.size() / outs_.size()); }
    struct Packed {
        Index panels, bias, vectors, depth;
    };
    // In panels of `panel` vectors of `lanes` outputs, of which `bias` holds each one's or none.
    Packed pack(std::vector<float> bias, Index lanes, Index panel, Weights& weights) const;

private:
    Order outs_;
    std::vector<float> rows_;
};

// Likewise of bytes, of which the loops take four rows at once: a tap's rows are filled up with zeros.
class ByteMatrix {
public:
    explicit ByteMatrix(Index outs) : outs_(outs), start_(static_cast<std::size_t>(outs)) {}

    // The next row of a tap, whose input may be below 0: then with what the loops add to it.
    void add_row(const std::vector<std::int8_t>& row, int offset);
    void end_tap();

    struct Packed {
        Index panels, start, vectors, depth;
    };
    Packed pack(Index lanes, Index panel, Weights& weights) const;

private:
    Index outs_;
    std::vector<std::vector<std::int8_t>> rows_;
    std::vector<std::int32_t> start_;
};

}  // namespace lehrnet::native
