// The network's operators as convolutions: what a step reads of maps, and which weights it takes of the artefact.
#pragma once

#include <memory>

#include "artefact.h"
#include "matrix.h"
#include "steps.h"

namespace lehrnet::native {

// A map, its channels' order, and what filled it.
struct Channels {
    Map map;
    Order order;
};

// A 3x3 operator with its norm, dense or an LConv, as the artefact holds it.
struct Spatial {
    bool light = false, narrows = false;
    int in = 0, out = 0;
    const float *weight = nullptr, *partial = nullptr, *partial_bias = nullptr, *bias = nullptr;  // of an LConv weight is pointwise
};

Spatial take_spatial(Artefact& artefact, int in, int out, int stride, bool light);

// Builds one convolution: what it reads is added piece by piece, each with its weights.
class ConvolutionBuilder {
public:
    // Writes all channels of `outs` to cells of `out`, on a grid of this width.
    ConvolutionBuilder(const Kernels& kernels, Planner& planner, int width, View out, Order outs);

    void add_pointwise(const Channels& in, const float* weight);
    void add_spatial(const Channels& in, const Spatial& spatial, int stride);
    // The quarter's conv of an LConv that narrows; the rest as it is.
    void add_partial(const Channels& in, const Spatial& spatial);
    void add_bias(const float* bias) { matrix_.add_bias(bias); }
    void add_map(const View& view, int halvings) { made_->addends.push_back({view, halvings}); }
    void rectify() { made_->rectify = true; }

    // Multiply-adds of one cell, what is added or zero left out.
    double multiply_adds() const { return multiply_adds_; }
    std::unique_ptr<Convolution> finish(Weights& weights, Index& tables);

private:
    View add_quarter(const Channels& in, const float* weight, int stride);
    View add_averages(const Channels& in);

    const Kernels& kernels_;
    Planner& planner_;
    std::unique_ptr<Convolution> made_;
    Matrix matrix_;
    struct Part {
        Convolution* convolution;
        Matrix matrix;
    };
    std::vector<Part> parts_;
    Index scratch_ = 0;
    double multiply_adds_ = 0;
};

// Rows of about 96 cells: enough for the loops, few enough for the cache.
int strip_rows(int width);

}  // namespace lehrnet::native
