// One operator on bytes by itself: a map of floats in, a map of floats out.
#pragma once

#include <algorithm>
#include <vector>

#include "../src/native/layers.h"

namespace lehrnet::native {

// A map of people x height x width x channels, without border.
struct Tight {
    int people, height, width, channels;

    std::size_t at(int person, int y, int x) const {
        return ((static_cast<std::size_t>(person) * height + y) * width + x) * channels;
    }
    template <class Float>
    void copy(const Map& map, float* place, Float* tight) const {
        for (int person = 0; person < people; ++person) {
            for (int y = 0; y < height; ++y) {
                for (int x = 0; x < width; ++x) {
                    float* const cell = place + map.view.at(person * height + y) + x * map.view.cell;
                    for (int c = 0; c < channels; ++c) exchange(cell[c], tight[at(person, y, x) + c]);
                }
            }
        }
    }

private:
    static void exchange(float& to, const float& from) { to = from; }
    static void exchange(float& from, float& to) { to = from; }
};

// Fills `results` (people, height, width, spatial.out), of a grid that is `stride` times as coarse as the input's.
inline void run_operator(const Kernels& kernels, const Spatial& spatial, int stride, const Tight& from, const Tight& to,
                         const float* input, float* results) {
    Planner planner(from.people, kernels.lanes);
    const Map in = planner.map(Place::SHARED, from.height, from.width, from.channels);
    const Map steps = planner.byte_map(Place::OWN, from.height, from.width, from.channels);
    const Map out = planner.map(Place::SHARED, to.height, to.width, to.channels);
    Weights weights;
    Index tables = 0;
    Chain chain("it", 0, to.height, strip_rows(to.width));
    chain.add(quantized(in, steps.view, spatial.step, stride, tables), 0);
    ConvolutionBuilder builder(kernels, planner, to.width, out.view, plain_order(to.channels));
    builder.add_spatial({in, plain_order(from.channels), steps.view}, spatial, stride);
    chain.add(builder.finish(weights, tables), 1);
    std::vector<Floats> places;
    for (const Place place : {Place::SHARED, Place::OWN, Place::SCRATCH}) places.emplace_back(planner.size(place));
    Floats laid(static_cast<Index>(weights.all().size()));
    std::copy(weights.all().begin(), weights.all().end(), laid.data());
    std::vector<void*> pointers(static_cast<std::size_t>(tables));
    from.copy(in, places[0].data(), input);
    const Worker worker = {&kernels, laid.data(), {places[0].data(), places[1].data(), places[2].data()}, pointers.data(), nullptr, nullptr};
    chain.run(worker, from.people, 0, chain.pieces(from.people));
    to.copy(out, places[0].data(), results);
}

}  // namespace lehrnet::native
