#include "matrix.h"

#include <algorithm>
#include <numeric>

namespace lehrnet::native {

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

void Matrix::add_tap(const Kernel& kernel, int tap, const Order& ins, int from, int to) {
    for (int i = from; i < to; ++i) {
        for (const int out : outs_) rows_.push_back(out < 0 ? 0 : kernel.at(out, ins[i], tap));
    }
}

void Matrix::add_unit(int channel) {
    for (const int out : outs_) rows_.push_back(out == channel ? 1.0f : 0.0f);
}

void Matrix::add_row(const std::vector<float>& row) { rows_.insert(rows_.end(), row.begin(), row.end()); }

void Matrix::add_bias(const float* bias) {
    for (std::size_t i = 0; i < outs_.size(); ++i) bias_[i] += outs_[i] < 0 ? 0 : bias[outs_[i]];
}

Matrix::Packed Matrix::pack(Index lanes, Index panel, Weights& weights) const {
    const Index outs = this->outs(), vectors = (outs + lanes - 1) / lanes;
    std::vector<float> panels;
    panels.reserve(static_cast<std::size_t>(depth() * vectors * lanes));
    for (Index v = 0, wide = panel; v < vectors; v += wide) {
        while (v + wide > vectors) wide = wide > 2 ? 2 : 1;  // as the loops take what is left
        for (Index k = 0; k < depth(); ++k) {
            for (Index out = v * lanes; out < (v + wide) * lanes; ++out) {
                panels.push_back(out < outs ? rows_[static_cast<std::size_t>(k * outs + out)] : 0);
            }
        }
    }
    std::vector<float> bias(bias_);
    bias.resize(static_cast<std::size_t>(vectors * lanes));
    // The bias first: what follows a panel, and is fetched while it is used, is the next convolution.
    const Index bias_at = weights.add(bias.data(), static_cast<Index>(bias.size()));
    return {weights.add(panels.data(), static_cast<Index>(panels.size())), bias_at, vectors, depth()};
}

}  // namespace lehrnet::native
