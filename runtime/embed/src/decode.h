// Points from heatmaps, as lehrnet/pose/heatmap.py defines them.
#pragma once

#include <lehrnet.h>

#include "bundle.h"
#include "crop.h"

namespace lehrnet {

// The joints of one person, in px of the image, from heatmaps (K, h, w) of the crop with this affine. Failure names
// `person` and the joint where a heatmap holds NaN or infinity.
void decode_person(const float* heatmaps, const Affine& affine, const Spec& spec, std::size_t person,
                   lehrnet_keypoint* keypoints);

// What the manifest says, as the arithmetic takes it.
DecodeSpec decode_spec(const Spec& spec);

// Mean of heatmaps (K, h, w) and of those of the mirrored crop, into the first; mirror[k] is k's opposite joint.
void fuse_flipped(float* heatmaps, const float* of_mirrored, const std::vector<int>& mirror, const Spec& spec);

}  // namespace lehrnet
