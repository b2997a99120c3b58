// Crops on the CPU, and what a caller's picture and boxes must be. The arithmetic is that of ../../kernels/crop.h.
#pragma once

#include <lehrnet.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../../kernels/crop.h"
#include "bundle.h"

namespace lehrnet {

// Failure unless the picture can be read.
void check_image(const lehrnet_image* image);

// Failure unless the corners of count boxes are finite and in order.
void check_boxes(const float* boxes, std::size_t count);

// What the manifest says, as the arithmetic takes it.
CropSpec crop_spec(const Spec& spec);

// One crop (3, H, W) of normalized RGB; outside the image the picture goes on in black. `columns` is work space,
// spec.width long.
void crop_person(const lehrnet_image& image, const Affine& affine, const CropSpec& spec, std::vector<Tap>& columns,
                 float* crop);

}  // namespace lehrnet
