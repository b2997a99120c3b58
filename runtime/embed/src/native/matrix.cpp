#include "matrix.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace lehrnet::native {
namespace {

// Calls act(first, wide) for every panel of this many vectors, as the loops take what is left.
template <class Act>
void for_panels(Index vectors, Index panel, const Act& act) {
    for (Index v = 0, wide = panel; v < vectors; v += wide) {
        while (v + wide > vectors) wide = wide > 2 ? 2 : 1;
        act(v, wide);
    }
}

}  // namespace

Order plain_order(int channels) {
    Order order(static_cast<std::size_t>(channels));
    std::iota(order.begin(), order.end(), 0);
    return order;
}

Index Weights::add(const float* from, Index count) {
    constexpr std::size_t line = 16;  // floats
    const std::size_t first = all_.size();
    all_.insert(all_.end(), from, from + count);
    all_.resize((all_.size() + line - 1) / line * line);
    return static_cast<Index>(first);
}

Index Weights::add_integers(const std::int32_t* from, Index count) {
    std::vector<float> same(static_cast<std::size_t>(count));
    if (count > 0) std::memcpy(same.data(), from, same.size() * sizeof *from);
    return add(same.data(), count);
}

Index Weights::add_fours(const std::array<std::int8_t, 4>* from, Index count) {
    std::vector<float> same(static_cast<std::size_t>(count));
    if (count > 0) std::memcpy(same.data(), from, same.size() * sizeof *from);
    return add(same.data(), count);
}

void Matrix::add_tap(const Kernel& kernel, int tap, const Order& ins, int from, int to) {
    for (int i = from; i < to; ++i) {
        for (const int out : outs_) rows_.push_back(out < 0 ? 0 : kernel.at(out, ins[i], tap));
    }
}

void Matrix::add_unit(int channel) {
    for (const int out : outs_) rows_.push_back(out == channel ? 1.0f : 0.0f);
}

void Matrix::add_row(const std::vector<float>& row) { rows_.insert(rows_.end(), row.begin(), row.end()); }

Matrix::Packed Matrix::pack(std::vector<float> bias, Index lanes, Index panel, Weights& weights) const {
    const Index outs = this->outs(), vectors = (outs + lanes - 1) / lanes;
    std::vector<float> panels;
    panels.reserve(static_cast<std::size_t>(depth() * vectors * lanes));
    for_panels(vectors, panel, [&](Index v, Index wide) {
        for (Index k = 0; k < depth(); ++k) {
            for (Index out = v * lanes; out < (v + wide) * lanes; ++out) {
                panels.push_back(out < outs ? rows_[static_cast<std::size_t>(k * outs + out)] : 0);
            }
        }
    });
    bias.resize(static_cast<std::size_t>(vectors * lanes));
    // The bias first: what follows a panel, and is fetched while it is used, is the next convolution.
    const Index bias_at = weights.add(bias.data(), static_cast<Index>(bias.size()));
    return {weights.add(panels.data(), static_cast<Index>(panels.size())), bias_at, vectors, depth()};
}

void ByteMatrix::add_row(const std::vector<std::int8_t>& row, int offset) {
    for (std::size_t out = 0; out < row.size(); ++out) start_[out] -= offset * row[out];
    rows_.push_back(row);
}

void ByteMatrix::end_tap() {
    while (rows_.size() % 4 != 0) rows_.emplace_back(static_cast<std::size_t>(outs_));
}

ByteMatrix::Packed ByteMatrix::pack(Index lanes, Index panel, Weights& weights) const {
    const Index vectors = (outs_ + lanes - 1) / lanes, depth = static_cast<Index>(rows_.size() / 4);
    std::vector<std::array<std::int8_t, 4>> panels;
    panels.reserve(static_cast<std::size_t>(depth * vectors * lanes));
    for_panels(vectors, panel, [&](Index v, Index wide) {
        for (Index k = 0; k < depth; ++k) {
            for (Index out = v * lanes; out < (v + wide) * lanes; ++out) {
                std::array<std::int8_t, 4> four{};
                for (std::size_t i = 0; i < four.size() && out < outs_; ++i) {
                    four[i] = rows_[static_cast<std::size_t>(k) * 4 + i][static_cast<std::size_t>(out)];
                }
                panels.push_back(four);
            }
        }
    });
    std::vector<std::int32_t> start(start_);
    start.resize(static_cast<std::size_t>(vectors * lanes));
    const Index start_at = weights.add_integers(start.data(), static_cast<Index>(start.size()));
    return {weights.add_fours(panels.data(), static_cast<Index>(panels.size())), start_at, vectors, depth};
}

}  // namespace lehrnet::native
