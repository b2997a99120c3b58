// Operators on bytes: see layers.cpp for the same on floats.
#include <algorithm>

#include "layers.h"
#include "windows.h"

namespace lehrnet::native {

std::unique_ptr<Quantized> quantized(const Map& in, const View& out, float step, int stride, Index& tables) {
    auto made = std::make_unique<Quantized>();
    made->in = in.view, made->out = out;
    made->width = in.width, made->stride = stride, made->channels = in.channels;
    made->steps = 1 / step;
    tables = std::max(tables, made->pointers());
    return made;
}

// A map in steps; where nobody made them, those of a strip in scratch.
View ConvolutionBuilder::steps_of(const Channels& in, float step) {
    if (in.bytes.cell != 0) return in.bytes;
    const View out = planner_.byte_scratch(strip_, width_, planner_.whole_vectors(in.map.channels), scratch_);
    before_.push_back(quantized(in.map, out, step, 1, tables_));
    return out;
}

ConvolutionBuilder::ByteSum& ConvolutionBuilder::add_sum(const Weight& weight) {
    std::vector<float> factors;
    for (const int out : outs_) factors.push_back(out < 0 ? 0 : weight.factors[out]);
    sums_.push_back({std::make_unique<ByteConvolution>(), ByteMatrix(matrix_.outs()), std::move(factors)});
    return sums_.back();
}

// Rows of one tap of a weight (out, channels, size, size), for the inputs [from, to) of an order.
void ConvolutionBuilder::add_rows(ByteSum& sum, const Weight& weight, int channels, int size, int tap, const Order& ins, int from,
                                  int to, bool negative) const {
    for (int i = from; i < to; ++i) {
        std::vector<std::int8_t> row;
        for (const int out : outs_) {
            const std::size_t at = (static_cast<std::size_t>(std::max(out, 0)) * channels + ins[i]) * size * size + tap;
            row.push_back(out < 0 ? std::int8_t{0} : weight.bytes[at]);
        }
        sum.matrix.add_row(row, negative ? kernels_.negative_offset : 0);
    }
    sum.matrix.end_tap();
}

void ConvolutionBuilder::add_dense_bytes(const Channels& in, const Spatial& spatial, int stride) {
    const int channels = in.map.channels;
    ByteSum& sum = add_sum(spatial.weight);
    sum.made->inputs.push_back({in.bytes, stride, cells_around(in.bytes, TAPS, channels)});
    sum.made->negative.push_back(false);
    for (int tap = 0; tap < TAPS * TAPS; ++tap) add_rows(sum, spatial.weight, channels, TAPS, tap, in.order, 0, channels, false);
    multiply_adds_ += static_cast<double>(TAPS * TAPS) * channels * matrix_.outs();
}

void ConvolutionBuilder::add_light_bytes(const Channels& in, const Spatial& spatial, int stride) {
    const int channels = in.map.channels, quarter = channels / 4;
    const View partial = add_byte_quarter(in, spatial, stride);
    const View rest = stride == 1 ? in.bytes : add_byte_averages(in);
    const Index first = stride == 1 ? quarter : 0;
    ByteSum& sum = add_sum(spatial.weight);
    sum.made->inputs.push_back({partial, 1, {{0, quarter}}});
    sum.made->inputs.push_back({rest, 1, {{first, channels - quarter}}});
    sum.made->negative = {true, false};
    add_rows(sum, spatial.weight, channels, 1, 0, in.order, 0, quarter, true);
    add_rows(sum, spatial.weight, channels, 1, 0, in.order, quarter, channels, false);
    multiply_adds_ += static_cast<double>(channels) * matrix_.outs();
}

// The 3x3 conv of the first quarter of channels, in scratch, as bytes that may be below 0.
View ConvolutionBuilder::add_byte_quarter(const Channels& in, const Spatial& spatial, int stride) {
    const int quarter = in.map.channels / 4;
    const auto [together, columns, whole] = spread(quarter, stride);
    const View out = planner_.byte_scratch(strip_, width_, whole ? quarter : planner_.whole_vectors(quarter), scratch_);
    auto conv = std::make_unique<ByteConvolution>();
    conv->width = width_, conv->together = together, conv->strip = strip_;
    conv->floats = false, conv->bytes = out, conv->steps = 1 / spatial.partial_step;
    conv->inputs.push_back({in.bytes, stride, cells_around(in.bytes, columns, quarter)});
    conv->negative.push_back(false);
    const int outs = together * quarter;
    ByteMatrix matrix(outs);
    std::vector<float> factors;
    for (int out_channel = 0; out_channel < outs; ++out_channel) factors.push_back(spatial.partial.factors[in.order[out_channel % quarter]]);
    for (int tap = 0; tap < TAPS * columns; ++tap) {
        for (int channel = 0; channel < quarter; ++channel) {
            std::vector<std::int8_t> row;
            for (int out_channel = 0; out_channel < outs; ++out_channel) {
                const int seen = seen_tap(tap, columns, out_channel / quarter * stride);
                const std::size_t from = static_cast<std::size_t>(in.order[out_channel % quarter]) * quarter + in.order[channel];
                row.push_back(seen < 0 ? std::int8_t{0} : spatial.partial.bytes[from * TAPS * TAPS + seen]);
            }
            matrix.add_row(row, 0);
        }
        matrix.end_tap();
    }
    byte_parts_.push_back({conv.get(), std::move(matrix), std::move(factors), std::vector<float>(static_cast<std::size_t>(outs))});
    before_.push_back(std::move(conv));
    multiply_adds_ += static_cast<double>(TAPS * TAPS) * quarter * quarter;
    return out;
}

View ConvolutionBuilder::add_byte_averages(const Channels& in) {
    auto averages = std::make_unique<ByteAverages>();
    averages->in = in.bytes;
    averages->width = width_;
    averages->channel = in.map.channels / 4;
    averages->channels = in.map.channels - in.map.channels / 4;
    const Index in_vector = kernels_.lanes * 4;
    averages->out = planner_.byte_scratch(strip_, width_, (averages->channels + in_vector - 1) / in_vector * in_vector, scratch_);
    const View out = averages->out;
    before_.push_back(std::move(averages));
    return out;
}

// A sum whose result is added to the main one's.
void ConvolutionBuilder::lay_aside(ByteSum sum, const View& out) {
    sum.made->width = width_, sum.made->strip = strip_, sum.made->out = out;
    const std::size_t outs = sum.factors.size();
    byte_parts_.push_back({sum.made.get(), std::move(sum.matrix), std::move(sum.factors), std::vector<float>(outs)});
    before_.push_back(std::move(sum.made));
}

std::unique_ptr<Convolution> ConvolutionBuilder::byte_main() {
    ByteSum& sum = sums_.back();
    sum.made->floats = byte_step_ == 0;
    if (byte_step_ != 0) sum.made->bytes = bytes_, sum.made->steps = 1 / byte_step_;
    byte_parts_.push_back({sum.made.get(), std::move(sum.matrix), std::move(sum.factors), std::move(bias_)});
    return std::move(sum.made);
}

void ConvolutionBuilder::pack(const BytePart& part, Weights& weights) const {
    ByteConvolution& convolution = *part.convolution;
    const ByteMatrix::Packed packed = part.matrix.pack(kernels_.lanes, kernels_.panel, weights);
    convolution.panels = packed.panels, convolution.start = packed.start;
    convolution.vectors = packed.vectors, convolution.depth = packed.depth;
    const auto added = [&](std::vector<float> by_output) {
        by_output.resize(static_cast<std::size_t>(packed.vectors * kernels_.lanes));
        return weights.add(by_output.data(), static_cast<Index>(by_output.size()));
    };
    convolution.factors = added(part.factors), convolution.bias = added(part.bias);
}

}  // namespace lehrnet::native
