#include "crop.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "failure.h"

namespace lehrnet {
namespace {

constexpr std::int32_t LARGEST_IMAGE = 1 << 16;    // px
constexpr std::size_t LARGEST_STRIDE = 1 << 20;    // bytes: four times the widest row

static_assert(+BGR == +LEHRNET_BGR && +RGB == +LEHRNET_RGB && +BGRA == +LEHRNET_BGRA && +RGBA == +LEHRNET_RGBA &&
              +GRAY == +LEHRNET_GRAY && +NV12 == +LEHRNET_NV12);

Frame frame_of(const lehrnet_image& image) {
    const std::uint8_t* chroma = image.chroma ? image.chroma : image.data + image.stride * image.height;
    return {image.data, chroma, image.stride, image.chroma_stride ? image.chroma_stride : image.stride, image.width,
            image.height, image.format};
}

template <class Row>
void sample(const Frame& frame, const Affine& affine, const CropSpec& spec, const std::vector<Tap>& columns, float* crop) {
    const std::size_t plane = static_cast<std::size_t>(spec.height) * spec.width;
    for (int y = 0; y < spec.height; ++y) {
        const Tap rows = tap(affine.scale_y * y + affine.y, frame.height);
        const Row upper(frame, rows.first), lower(frame, rows.second);
        float* out = crop + static_cast<std::size_t>(y) * spec.width;
        for (int x = 0; x < spec.width; ++x) {
            const Colour colour = blended(upper, lower, columns[x], rows);
            out[x] = colour.red * spec.scale[0] + spec.shift[0];
            out[x + plane] = colour.green * spec.scale[1] + spec.shift[1];
            out[x + 2 * plane] = colour.blue * spec.scale[2] + spec.shift[2];
        }
    }
}

std::size_t bytes_a_pixel(std::int32_t format) {
    switch (format) {
        case LEHRNET_BGR:
        case LEHRNET_RGB: return 3;
        case LEHRNET_BGRA:
        case LEHRNET_RGBA: return 4;
        case LEHRNET_GRAY:
        case LEHRNET_NV12: return 1;
        default: fail(LEHRNET_INVALID_ARGUMENT, "image: format is ", format, ", expected one of lehrnet_format's");
    }
}

// Rows that lie within bounds and within the address space.
void check_plane(const char* name, const std::uint8_t* data, std::size_t stride, std::size_t row, std::size_t rows) {
    if (stride < row || stride > LARGEST_STRIDE) {
        fail(LEHRNET_INVALID_ARGUMENT, "image: ", name, " is ", stride, " bytes, expected ", row, " to ", LARGEST_STRIDE);
    }
    if (std::uint64_t{stride} * rows > UINTPTR_MAX - reinterpret_cast<std::uintptr_t>(data)) {
        fail(LEHRNET_INVALID_ARGUMENT, "image: ", rows, " rows of ", stride, " bytes do not fit behind its data");
    }
}

}  // namespace

void check_image(const lehrnet_image* image) {
    if (!image || !image->data) fail(LEHRNET_INVALID_ARGUMENT, "image, or its data, is NULL");
    const std::size_t pixel = bytes_a_pixel(image->format);
    if (image->width < 1 || image->height < 1 || image->width > LARGEST_IMAGE || image->height > LARGEST_IMAGE) {
        fail(LEHRNET_INVALID_ARGUMENT, "image is ", image->width, "x", image->height, " px, expected 1 to ",
             LARGEST_IMAGE, " each way");
    }
    const std::size_t row = pixel * static_cast<std::size_t>(image->width);
    const auto rows = static_cast<std::size_t>(image->height);
    check_plane("stride", image->data, image->stride, row, rows);
    if (image->format != LEHRNET_NV12) return;
    if (image->width % 2 || image->height % 2) {
        fail(LEHRNET_INVALID_ARGUMENT, "image is ", image->width, "x", image->height, " px, NV12 takes even numbers");
    }
    const std::uint8_t* chroma = image->chroma ? image->chroma : image->data + image->stride * rows;
    check_plane("chroma_stride", chroma, image->chroma_stride ? image->chroma_stride : image->stride, row, rows / 2);
}

void check_boxes(const float* boxes, std::size_t count) {
    if (count > 0 && !boxes) fail(LEHRNET_INVALID_ARGUMENT, "boxes is NULL, but their count is ", count);
    for (std::size_t i = 0; i < count; ++i) {
        const float* box = boxes + 4 * i;
        const bool finite = std::all_of(box, box + 4, [](float side) { return std::isfinite(side); });
        if (!finite || !(box[2] > box[0] && box[3] > box[1])) {
            fail(LEHRNET_INVALID_ARGUMENT, "box ", i, " is ", box[0], ", ", box[1], ", ", box[2], ", ", box[3],
                 "; expected finite x1 < x2 and y1 < y2 in px");
        }
    }
}

CropSpec crop_spec(const Spec& spec) {
    const double height = spec.input_height, width = spec.input_width;
    CropSpec found{spec.input_height, spec.input_width, spec.padding, 1, 1, (width - 1) / 2, (height - 1) / 2, 0, {}, {}};
    switch (spec.frame) {
        case FRAME_HRNET:  // the box's centre comes to half the width and height
            found.middle_x = width / 2;
            found.middle_y = height / 2;
            break;
        case FRAME_UDP:  // the box's sides span the outermost pixels' centres
            found.stretch_x = width / (width - 1);
            found.stretch_y = height / (height - 1);
            break;
        default: found.to_pixels = -0.5;  // edges meet edges
    }
    for (int c = 0; c < 3; ++c) {
        found.scale[c] = static_cast<float>(1 / (255 * spec.std[c]));
        found.shift[c] = static_cast<float>(-spec.mean[c] / spec.std[c]);
    }
    return found;
}

void crop_person(const lehrnet_image& image, const Affine& affine, const CropSpec& spec, std::vector<Tap>& columns,
                 float* crop) {
    const Frame frame = frame_of(image);
    for (int x = 0; x < spec.width; ++x) columns[x] = tap(affine.scale_x * x + affine.x, frame.width);
    by_format(frame.format, [&](auto tag) {
        sample<typename decltype(tag)::Row>(frame, affine, spec, columns, crop);
    });
}

}  // namespace lehrnet
