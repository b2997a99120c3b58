#include "layers.h"

#include <algorithm>

namespace lehrnet::native {
namespace {

constexpr int STRIP = 96;  // cells
constexpr int TAPS = 3;    // of a kernel, each way

std::uint32_t size(int channels) { return static_cast<std::uint32_t>(channels); }

// Around a cell: 3 rows of `columns` cells, `count` floats of each; in one where nothing lies between them.
std::vector<Tap> window(const View& view, int columns, Index count) {
    std::vector<Tap> taps;
    if (view.cell == count) {
        for (int y = -1; y < TAPS - 1; ++y) taps.push_back({y * view.row - view.cell, columns * count});
        return taps;
    }
    for (int y = -1; y < TAPS - 1; ++y) {
        for (int x = -1; x < columns - 1; ++x) taps.push_back({y * view.row + x * view.cell, count});
    }
    return taps;
}

}  // namespace

int strip_rows(int width) { return std::max(1, STRIP / width); }

Spatial take_spatial(Artefact& artefact, int in, int out, int stride, bool light) {
    Spatial taken;
    taken.light = light, taken.in = in, taken.out = out;
    taken.narrows = light && stride == 1 && out < in;
    if (!light) {
        taken.weight = artefact.take({size(out), size(in), 3, 3});
    } else {
        const std::uint32_t quarter = size((taken.narrows ? out : in) / 4);
        taken.partial = artefact.take({quarter, quarter, 3, 3});
        if (taken.narrows) taken.partial_bias = artefact.take({quarter});
        taken.weight = artefact.take({size(out), size(in)});
    }
    taken.bias = artefact.take({size(out)});
    return taken;
}

ConvolutionBuilder::ConvolutionBuilder(const Kernels& kernels, Planner& planner, int width, View out, Order outs)
    : kernels_(kernels), planner_(planner), made_(std::make_unique<Convolution>()), matrix_(std::move(outs)) {
    made_->width = width;
    made_->strip = strip_rows(width);
    made_->out = out;
}

void ConvolutionBuilder::add_pointwise(const Channels& in, const float* weight) {
    const int channels = in.map.channels;
    made_->inputs.push_back({in.map.view, 1, {{0, channels}}});
    matrix_.add_tap({weight, channels, 1}, 0, in.order, 0, channels);
    multiply_adds_ += static_cast<double>(channels) * matrix_.outs();
}

void ConvolutionBuilder::add_spatial(const Channels& in, const Spatial& spatial, int stride) {
    const int channels = in.map.channels, quarter = channels / 4;
    if (!spatial.light) {
        made_->inputs.push_back({in.map.view, stride, window(in.map.view, TAPS, channels)});
        for (int tap = 0; tap < TAPS * TAPS; ++tap) matrix_.add_tap({spatial.weight, channels, TAPS}, tap, in.order, 0, channels);
        multiply_adds_ += static_cast<double>(TAPS * TAPS) * channels * matrix_.outs();
        return;
    }
    made_->inputs.push_back({add_quarter(in, spatial.partial, stride), 1, {{0, quarter}}});
    if (stride == 1) made_->inputs.push_back({in.map.view, 1, {{quarter, channels - quarter}}});
    else made_->inputs.push_back({add_averages(in), 1, {{0, channels - quarter}}});
    matrix_.add_tap({spatial.weight, channels, 1}, 0, in.order, 0, channels);
    multiply_adds_ += static_cast<double>(channels) * matrix_.outs();
}

void ConvolutionBuilder::add_partial(const Channels& in, const Spatial& spatial) {
    const int channels = in.map.channels, quarter = channels / 4;
    made_->inputs.push_back({add_quarter(in, spatial.partial, 1), 1, {{0, quarter}}});
    made_->inputs.push_back({in.map.view, 1, {{quarter, channels - quarter}}});
    for (int channel = 0; channel < channels; ++channel) matrix_.add_unit(in.order[channel]);
    std::vector<float> bias(static_cast<std::size_t>(channels));
    std::copy_n(spatial.partial_bias, quarter, bias.begin());
    matrix_.add_bias(bias.data());
}

// The 3x3 conv of the first quarter of channels, in scratch. Where the quarter is a fraction of a vector, neighbours
// fill it together: their windows overlap, and what one of them does not see gets weights of zero.
View ConvolutionBuilder::add_quarter(const Channels& in, const float* weight, int stride) {
    const int quarter = in.map.channels / 4, lanes = static_cast<int>(kernels_.lanes), width = made_->width;
    int together = lanes % quarter == 0 ? lanes / quarter : 1;
    while (width % together != 0) together /= 2;
    const bool whole = together * quarter == lanes;
    if (!whole) together = 1;
    const View out = planner_.scratch(made_->strip, width, whole ? quarter : planner_.whole_vectors(quarter), scratch_);
    auto conv = std::make_unique<Convolution>();
    conv->width = width, conv->together = together, conv->strip = made_->strip, conv->out = out;
    const int columns = (together - 1) * stride + TAPS;
    conv->inputs.push_back({in.map.view, stride, window(in.map.view, columns, quarter)});
    Order outs;
    for (int cell = 0; cell < together; ++cell) {
        for (int channel = 0; channel < quarter; ++channel) outs.push_back(cell * quarter + in.order[channel]);
    }
    Matrix matrix(outs);
    const Kernel kernel = {weight, quarter, TAPS};
    for (int tap = 0; tap < TAPS * columns; ++tap) {
        for (int channel = 0; channel < quarter; ++channel) {
            std::vector<float> row;
            for (const int out_channel : outs) {
                const int column = tap % columns - out_channel / quarter * stride;
                const bool seen = column >= 0 && column < TAPS;
                row.push_back(seen ? kernel.at(out_channel % quarter, in.order[channel], tap / columns * TAPS + column) : 0);
            }
            matrix.add_row(row);
        }
    }
    parts_.push_back({conv.get(), std::move(matrix)});
    made_->before.push_back(std::move(conv));
    multiply_adds_ += static_cast<double>(TAPS * TAPS) * quarter * quarter;
    return out;
}

View ConvolutionBuilder::add_averages(const Channels& in) {
    auto averages = std::make_unique<Averages>();
    averages->in = in.map.view;
    averages->width = made_->width;
    averages->channel = in.map.channels / 4;
    averages->channels = in.map.channels - in.map.channels / 4;
    averages->out = planner_.scratch(made_->strip, made_->width, planner_.whole_vectors(averages->channels), scratch_);
    const View out = averages->out;
    made_->before.push_back(std::move(averages));
    return out;
}

std::unique_ptr<Convolution> ConvolutionBuilder::finish(Weights& weights, Index& tables) {
    parts_.push_back({made_.get(), std::move(matrix_)});
    for (const Part& part : parts_) {
        const Matrix::Packed packed = part.matrix.pack(kernels_.lanes, kernels_.panel, weights);
        part.convolution->panels = packed.panels, part.convolution->bias = packed.bias;
        part.convolution->vectors = packed.vectors, part.convolution->depth = packed.depth;
        tables = std::max(tables, part.convolution->pointers());
    }
    return std::move(made_);
}

}  // namespace lehrnet::native
