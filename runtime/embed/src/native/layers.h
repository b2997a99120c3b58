// The network's operators as convolutions: what a step reads of maps, and which weights it takes of the artefact.
#pragma once

#include <memory>

#include "artefact.h"
#include "matrix.h"
#include "steps.h"

namespace lehrnet::native {

// A map of floats and its channels' order; `bytes`, where its cells have a size, is the same in steps.
struct Channels {
    Map map;
    Order order;
    View bytes;
};

// A conv's weights as the artefact holds them: floats, or bytes and what a one of their sums is worth, by output.
struct Weight {
    const float* floats = nullptr;
    const std::int8_t* bytes = nullptr;
    const float* factors = nullptr;
};

// A 1x1 conv. `step` is what a step of its input's bytes is worth; 0 where it reads floats.
struct Pointwise {
    Weight weight;
    const float* bias = nullptr;
    float step = 0;
};

// A 3x3 operator with its norm, dense or an LConv, of which `weight` is the pointwise conv's.
struct Spatial {
    bool light = false, narrows = false;
    int in = 0, out = 0;
    Weight weight, partial;
    const float *partial_bias = nullptr, *bias = nullptr;
    float step = 0, partial_step = 0;  // of its input's bytes, and of its partial conv's output
};

Pointwise take_pointwise(Artefact& artefact, int in, int out);
Spatial take_spatial(Artefact& artefact, int in, int out, int stride, bool light);

// What turns a map of floats to `out` in steps that are worth `step`; `stride` as for Input.
std::unique_ptr<Quantized> quantized(const Map& in, const View& out, float step, int stride, Index& tables);

// Builds one convolution: what it reads is added piece by piece, each with its weights and its bias.
class ConvolutionBuilder {
public:
    // Writes all channels of `outs` to cells of `out`, on a grid of this width.
    ConvolutionBuilder(const Kernels& kernels, Planner& planner, int width, View out, Order outs);

    void add_pointwise(const Channels& in, const Pointwise& pointwise);
    void add_spatial(const Channels& in, const Spatial& spatial, int stride);
    // The two operators of an LConv that narrows: the pointwise conv, and then the quarter's conv and the rest as it is.
    void add_first_of(const Channels& in, const Spatial& spatial);
    void add_second_of(const Channels& in, const Spatial& spatial);
    void add_map(const View& view, int halvings) { addends_.push_back({view, halvings}); }
    void rectify() { rectify_ = true; }
    // In place of floats: bytes, of which a step is worth this. Only where all that it reads is one operator on bytes.
    void write_bytes(const View& bytes, float step) { bytes_ = bytes, byte_step_ = step; }

    // Multiply-adds of one cell, what is added or zero left out.
    double multiply_adds() const { return multiply_adds_; }
    std::unique_ptr<Convolution> finish(Weights& weights, Index& tables);

private:
    // A sum of bytes, and its weights and what they are worth.
    struct ByteSum {
        std::unique_ptr<ByteConvolution> made;
        ByteMatrix matrix;
        std::vector<float> factors;
    };
    // A finished part of the work, whose weights are laid down in the end.
    struct Part {
        FloatConvolution* convolution;
        Matrix matrix;
        std::vector<float> bias;
    };
    struct BytePart {
        ByteConvolution* convolution;
        ByteMatrix matrix;
        std::vector<float> factors, bias;
    };

    View steps_of(const Channels& in, float step);
    ByteSum& add_sum(const Weight& weight);
    void add_rows(ByteSum& sum, const Weight& weight, int channels, int size, int tap, const Order& ins, int from, int to, bool negative) const;
    void add_dense_bytes(const Channels& in, const Spatial& spatial, int stride);
    void add_light_bytes(const Channels& in, const Spatial& spatial, int stride);
    void add_bias(const float* bias);

    // How the quarter's conv of an LConv spreads over vectors.
    struct Spread {
        int together, columns;
        bool whole;  // its channels fill vectors
    };
    Spread spread(int quarter, int stride) const;
    View add_quarter(const Channels& in, const float* weight, int stride);
    View add_byte_quarter(const Channels& in, const Spatial& spatial, int stride);
    View add_averages(const Channels& in);
    View add_byte_averages(const Channels& in);

    void lay_aside(ByteSum sum, const View& out);
    std::unique_ptr<Convolution> float_main();
    std::unique_ptr<Convolution> byte_main();
    void pack(const BytePart& part, Weights& weights) const;

    const Kernels& kernels_;
    Planner& planner_;
    const int width_, strip_;
    const View out_;
    const Order outs_;
    std::vector<float> bias_;
    std::vector<Addend> addends_;
    bool rectify_ = false;
    View bytes_;
    float byte_step_ = 0;
    std::vector<Input> inputs_;  // of floats
    Matrix matrix_;
    std::vector<ByteSum> sums_;
    std::vector<std::unique_ptr<Rows>> before_;
    std::vector<Part> parts_;
    std::vector<BytePart> byte_parts_;
    Index scratch_ = 0, tables_ = 0;
    double multiply_adds_ = 0;
};

// Rows of about 96 cells: enough for the loops, few enough for the cache.
int strip_rows(int width);

}  // namespace lehrnet::native
