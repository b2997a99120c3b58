#include "layers.h"

#include <algorithm>

#include "windows.h"

namespace lehrnet::native {
namespace {

constexpr int STRIP = 96;  // cells

std::uint32_t size(int channels) { return static_cast<std::uint32_t>(channels); }

// Of bytes where the artefact says so, with what they are worth by output.
Weight take_weight(Artefact& artefact, const Sizes& sizes, bool bytes) {
    Weight weight;
    if (bytes) {
        weight.bytes = artefact.take_bytes(sizes);
        weight.factors = artefact.take({sizes.out});
    } else {
        weight.floats = artefact.take(sizes);
    }
    return weight;
}

}  // namespace

int strip_rows(int width) { return std::max(1, STRIP / width); }

Pointwise take_pointwise(Artefact& artefact, int in, int out) {
    Pointwise taken;
    const bool bytes = artefact.bytes_next();
    taken.weight = take_weight(artefact, {size(out), size(in)}, bytes);
    taken.bias = artefact.take({size(out)});
    if (bytes) taken.step = *artefact.take_steps(1);
    return taken;
}

Spatial take_spatial(Artefact& artefact, int in, int out, int stride, bool light) {
    Spatial taken;
    taken.light = light, taken.in = in, taken.out = out;
    taken.narrows = light && stride == 1 && out < in;
    bool bytes = artefact.bytes_next();
    if (!light) {
        taken.weight = take_weight(artefact, {size(out), size(in), TAPS, TAPS}, bytes);
    } else {
        const std::uint32_t quarter = size((taken.narrows ? out : in) / 4);
        if (taken.narrows) bytes = false;  // what its partial conv reads may be below 0
        taken.partial = take_weight(artefact, {quarter, quarter, TAPS, TAPS}, bytes);
        if (taken.narrows) {
            taken.partial_bias = artefact.take({quarter});
            bytes = artefact.bytes_next();
        }
        taken.weight = take_weight(artefact, {size(out), size(in)}, bytes);
    }
    taken.bias = artefact.take({size(out)});
    if (!bytes) return taken;
    const bool parts = light && !taken.narrows;
    const float* const steps = artefact.take_steps(parts ? 2 : 1);
    taken.step = steps[0];
    if (parts) taken.partial_step = steps[1];
    return taken;
}

ConvolutionBuilder::ConvolutionBuilder(const Kernels& kernels, Planner& planner, int width, View out, Order outs)
    : kernels_(kernels), planner_(planner), width_(width), strip_(strip_rows(width)), out_(out), outs_(std::move(outs)),
      bias_(outs_.size()), matrix_(outs_) {}

void ConvolutionBuilder::add_pointwise(const Channels& in, const Pointwise& pointwise) {
    const int channels = in.map.channels;
    add_bias(pointwise.bias);
    multiply_adds_ += static_cast<double>(channels) * matrix_.outs();
    if (pointwise.weight.bytes) {
        ByteSum& sum = add_sum(pointwise.weight);
        sum.made->inputs.push_back({steps_of(in, pointwise.step), 1, {{0, channels}}});
        sum.made->negative.push_back(false);
        add_rows(sum, pointwise.weight, channels, 1, 0, in.order, 0, channels, false);
        return;
    }
    inputs_.push_back({in.map.view, 1, {{0, channels}}});
    matrix_.add_tap({pointwise.weight.floats, channels, 1}, 0, in.order, 0, channels);
}

void ConvolutionBuilder::add_spatial(const Channels& in, const Spatial& spatial, int stride) {
    const int channels = in.map.channels, quarter = channels / 4;
    add_bias(spatial.bias);
    if (spatial.weight.bytes) {
        if (spatial.light) add_light_bytes(in, spatial, stride);
        else add_dense_bytes(in, spatial, stride);
        return;
    }
    if (!spatial.light) {
        inputs_.push_back({in.map.view, stride, window(in.map.view, TAPS, channels)});
        for (int tap = 0; tap < TAPS * TAPS; ++tap) matrix_.add_tap({spatial.weight.floats, channels, TAPS}, tap, in.order, 0, channels);
        multiply_adds_ += static_cast<double>(TAPS * TAPS) * channels * matrix_.outs();
        return;
    }
    inputs_.push_back({add_quarter(in, spatial.partial.floats, stride), 1, {{0, quarter}}});
    if (stride == 1) inputs_.push_back({in.map.view, 1, {{quarter, channels - quarter}}});
    else inputs_.push_back({add_averages(in), 1, {{0, channels - quarter}}});
    matrix_.add_tap({spatial.weight.floats, channels, 1}, 0, in.order, 0, channels);
    multiply_adds_ += static_cast<double>(channels) * matrix_.outs();
}

void ConvolutionBuilder::add_first_of(const Channels& in, const Spatial& spatial) {
    add_pointwise(in, {spatial.weight, spatial.bias, spatial.step});
}

void ConvolutionBuilder::add_second_of(const Channels& in, const Spatial& spatial) {
    const int channels = in.map.channels, quarter = channels / 4;
    inputs_.push_back({add_quarter(in, spatial.partial.floats, 1), 1, {{0, quarter}}});
    inputs_.push_back({in.map.view, 1, {{quarter, channels - quarter}}});
    for (int channel = 0; channel < channels; ++channel) matrix_.add_unit(in.order[channel]);
    std::vector<float> bias(static_cast<std::size_t>(channels));
    std::copy_n(spatial.partial_bias, quarter, bias.begin());
    add_bias(bias.data());
}

void ConvolutionBuilder::add_bias(const float* bias) {
    for (std::size_t i = 0; i < outs_.size(); ++i) bias_[i] += outs_[i] < 0 ? 0 : bias[outs_[i]];
}

// Where the quarter is a fraction of a vector, neighbours fill it together: their windows overlap, and what one of them
// does not see gets weights of zero.
ConvolutionBuilder::Spread ConvolutionBuilder::spread(int quarter, int stride) const {
    const int lanes = static_cast<int>(kernels_.lanes);
    int together = lanes % quarter == 0 ? lanes / quarter : 1;
    while (width_ % together != 0) together /= 2;
    const bool whole = together * quarter == lanes;
    if (!whole) together = 1;
    return {together, (together - 1) * stride + TAPS, whole};
}

// The 3x3 conv of the first quarter of channels, in scratch.
View ConvolutionBuilder::add_quarter(const Channels& in, const float* weight, int stride) {
    const int quarter = in.map.channels / 4;
    const auto [together, columns, whole] = spread(quarter, stride);
    const View out = planner_.scratch(strip_, width_, whole ? quarter : planner_.whole_vectors(quarter), scratch_);
    auto conv = std::make_unique<FloatConvolution>();
    conv->width = width_, conv->together = together, conv->strip = strip_, conv->out = out;
    conv->inputs.push_back({in.map.view, stride, window(in.map.view, columns, quarter)});
    Matrix matrix(plain_order(together * quarter));
    const Kernel kernel = {weight, quarter, TAPS};
    for (int tap = 0; tap < TAPS * columns; ++tap) {
        for (int channel = 0; channel < quarter; ++channel) {
            std::vector<float> row;
            for (int out_channel = 0; out_channel < together * quarter; ++out_channel) {
                const int seen = seen_tap(tap, columns, out_channel / quarter * stride);
                row.push_back(seen < 0 ? 0 : kernel.at(in.order[out_channel % quarter], in.order[channel], seen));
            }
            matrix.add_row(row);
        }
    }
    parts_.push_back({conv.get(), std::move(matrix), {}});
    before_.push_back(std::move(conv));
    multiply_adds_ += static_cast<double>(TAPS * TAPS) * quarter * quarter;
    return out;
}

View ConvolutionBuilder::add_averages(const Channels& in) {
    auto averages = std::make_unique<Averages>();
    averages->in = in.map.view;
    averages->width = width_;
    averages->channel = in.map.channels / 4;
    averages->channels = in.map.channels - in.map.channels / 4;
    averages->out = planner_.scratch(strip_, width_, planner_.whole_vectors(averages->channels), scratch_);
    const View out = averages->out;
    before_.push_back(std::move(averages));
    return out;
}

// One sum takes all floats, or where there are none the last sum of bytes; what the other sums give is added to it.
std::unique_ptr<Convolution> ConvolutionBuilder::finish(Weights& weights, Index& tables) {
    const bool bytes = inputs_.empty() && !sums_.empty();
    const std::size_t aside = sums_.size() - (bytes ? 1 : 0);
    for (std::size_t i = 0; i < aside; ++i) {
        const View view = planner_.scratch(strip_, width_, planner_.whole_vectors(matrix_.outs()), scratch_);
        lay_aside(std::move(sums_[i]), view);
        addends_.push_back({view, 0});
    }
    std::unique_ptr<Convolution> made = bytes ? byte_main() : float_main();
    made->width = width_, made->strip = strip_, made->out = out_;
    made->addends = std::move(addends_), made->before = std::move(before_);
    made->rectify = rectify_;
    tables = std::max(tables, tables_);
    for (const Part& part : parts_) {
        const Matrix::Packed packed = part.matrix.pack(part.bias, kernels_.lanes, kernels_.panel, weights);
        part.convolution->panels = packed.panels, part.convolution->bias = packed.bias;
        part.convolution->vectors = packed.vectors, part.convolution->depth = packed.depth;
        tables = std::max(tables, part.convolution->pointers());
    }
    for (const BytePart& part : byte_parts_) {
        pack(part, weights);
        tables = std::max(tables, part.convolution->pointers());
    }
    return made;
}

std::unique_ptr<Convolution> ConvolutionBuilder::float_main() {
    auto made = std::make_unique<FloatConvolution>();
    made->inputs = std::move(inputs_);
    parts_.push_back({made.get(), std::move(matrix_), std::move(bias_)});
    return made;
}

}  // namespace lehrnet::native
