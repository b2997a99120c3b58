// The one crop, as lehrnet/pose/crop.py defines it: from boxes to affines, and from pixels to the network's input.
#pragma once

#include <lehrnet.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bundle.h"

namespace lehrnet {

// From crop px to image px: image = scale * crop + shift.
struct Affine {
    double scale, x, y;
};

// The two pixels of an axis beside a sample, and their shares; a pixel outside the image has none.
struct Tap {
    std::int32_t first, second;
    float first_share, second_share;
};

// Failure unless the picture can be read.
void check_image(const lehrnet_image* image);

// Failure unless the corners of count boxes are finite and in order.
void check_boxes(const float* boxes, std::size_t count);

// The box, widened to the input's aspect and padded, fills the crop.
Affine person_affine(const float* box, const Spec& spec);

// One crop (3, H, W) of normalised RGB; outside the image the picture goes on in black. `columns` is work space,
// input_width long.
void crop_person(const lehrnet_image& image, const Affine& affine, const Spec& spec, std::vector<Tap>& columns,
                 float* crop);

}  // namespace lehrnet
