// The bundle: bundle.json and the one artefact that is to run. Written by lehrnet/runtime/bundle.py.
#pragma once

#include <array>
#include <climits>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../kernels/decode.h"

namespace lehrnet {

// What the network expects of a crop and what its heatmaps mean (lehrnet/pose/spec.py).
struct Spec {
    std::string skeleton, decode_name;
    std::vector<std::string> joints;
    std::vector<std::pair<int, int>> flip_pairs, limbs;
    std::vector<double> sigmas;  // OKS tolerance of each joint, as a share of the square root of the person's area
    int input_height = 0, input_width = 0;
    double padding = 0;
    std::array<double, 3> mean{}, std{};  // of RGB between 0 and 1
    std::int32_t decode = QUARTER;     // a DecodeMethod
    std::int32_t frame = FRAME_EDGES;  // a FrameKind
    int stride = 4;                    // px of the crop that a cell has
    float min_score = 0.2f;            // of a joint that is drawn; older manifests have none

    int heatmap_height() const { return input_height / stride; }
    int heatmap_width() const { return input_width / stride; }
    std::size_t crop_size() const { return std::size_t{3} * input_height * input_width; }
    std::size_t map_size() const { return static_cast<std::size_t>(heatmap_height()) * heatmap_width(); }
    std::size_t heatmaps_size() const { return joints.size() * map_size(); }
};

struct Manifest {
    std::string variant, note;
    bool trained = false;
    Spec spec;
    std::string input_name, output_name;
    std::string precision, file, sha256;  // of the artefact
    std::uint64_t bytes = 0;
    int least_batch = 1, most_batch = INT_MAX;
    std::string built_for;  // an engine's library
};

struct Bundle {
    Manifest manifest;
    std::vector<unsigned char> model;  // the artefact's content, checked
};

// Failure says which file differs and how.
Bundle open_bundle(const std::string& folder, const std::string& precision);

// The manifest's text; `name` stands in errors. Precision "auto" is our own engine's FP32, or the graph without one.
Manifest read_manifest(std::string_view text, const std::string& precision, const std::string& name);

}  // namespace lehrnet
