#include "crop.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "failure.h"

namespace lehrnet {
namespace {

constexpr std::int32_t LARGEST_IMAGE = 1 << 16;

// A row of pixels of interleaved bytes: where its red, green and blue are, and how far apart pixels lie.
template <int Red, int Green, int Blue, int Step>
struct Interleaved {
    const std::uint8_t* row;

    Interleaved(const lehrnet_image& image, std::int32_t y) : row(image.data + image.stride * y) {}

    std::array<float, 3> rgb(std::int32_t x) const {
        const std::uint8_t* pixel = row + std::size_t{Step} * x;
        return {static_cast<float>(pixel[Red]), static_cast<float>(pixel[Green]), static_cast<float>(pixel[Blue])};
    }
};

// BT.601 of limited range in units of 2^-20, rounded to bytes: what cv2.cvtColor(COLOR_YUV2RGB_NV12) computes.
struct Nv12 {
    const std::uint8_t *luma, *chroma;

    Nv12(const lehrnet_image& image, std::int32_t y) : luma(image.data + image.stride * y) {
        const std::uint8_t* plane = image.chroma ? image.chroma : image.data + image.stride * image.height;
        chroma = plane + (image.chroma_stride ? image.chroma_stride : image.stride) * (y / 2);
    }

    std::array<float, 3> rgb(std::int32_t x) const {
        const std::int32_t y = std::max(0, luma[x] - 16) * 1220542;
        const std::int32_t u = chroma[x / 2 * 2] - 128, v = chroma[x / 2 * 2 + 1] - 128, half = 1 << 19;
        const auto byte = [](std::int32_t value) { return static_cast<float>(std::clamp(value >> 20, 0, 255)); };
        return {byte(y + half + 1673527 * v), byte(y + half - 852492 * v - 409993 * u), byte(y + half + 2116026 * u)};
    }
};

Tap tap(double position, std::int32_t size) {
    if (!(position > -1 && position < size)) return {0, 0, 0, 0};
    const double before = std::floor(position);
    const float share = static_cast<float>(position - before);
    const auto first = static_cast<std::int32_t>(before);
    return {std::max(first, 0), std::min(first + 1, size - 1), first >= 0 ? static_cast<float>(1 - (position - before)) : 0,
            first + 1 < size ? share : 0};
}

template <class Row>
void sample(const lehrnet_image& image, const Affine& affine, const Spec& spec, std::vector<Tap>& columns, float* crop) {
    const int height = spec.input_height, width = spec.input_width;
    std::array<float, 3> scale{}, shift{};
    for (int c = 0; c < 3; ++c) {
        scale[c] = static_cast<float>(1 / (255 * spec.std[c]));
        shift[c] = static_cast<float>(-spec.mean[c] / spec.std[c]);
    }
    for (int x = 0; x < width; ++x) columns[x] = tap(affine.scale * x + affine.x, image.width);
    const std::size_t plane = static_cast<std::size_t>(height) * width;
    for (int y = 0; y < height; ++y) {
        const Tap rows = tap(affine.scale * y + affine.y, image.height);
        const Row upper(image, rows.first), lower(image, rows.second);
        float* out = crop + static_cast<std::size_t>(y) * width;
        for (int x = 0; x < width; ++x) {
            const Tap& at = columns[x];
            const auto a = upper.rgb(at.first), b = upper.rgb(at.second);
            const auto c = lower.rgb(at.first), d = lower.rgb(at.second);
            for (int i = 0; i < 3; ++i) {
                const float above = a[i] * at.first_share + b[i] * at.second_share;
                const float below = c[i] * at.first_share + d[i] * at.second_share;
                out[i * plane + x] = (above * rows.first_share + below * rows.second_share) * scale[i] + shift[i];
            }
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

}  // namespace

void check_image(const lehrnet_image* image) {
    if (!image || !image->data) fail(LEHRNET_INVALID_ARGUMENT, "image, or its data, is NULL");
    const std::size_t pixel = bytes_a_pixel(image->format);
    if (image->width < 1 || image->height < 1 || image->width > LARGEST_IMAGE || image->height > LARGEST_IMAGE) {
        fail(LEHRNET_INVALID_ARGUMENT, "image is ", image->width, "x", image->height, " px, expected 1 to ",
             LARGEST_IMAGE, " each way");
    }
    const std::size_t row = pixel * static_cast<std::size_t>(image->width);
    if (image->stride < row) {
        fail(LEHRNET_INVALID_ARGUMENT, "image: stride is ", image->stride, " bytes, expected at least ", row, ": ",
             image->width, " px of ", pixel);
    }
    if (image->format != LEHRNET_NV12) return;
    if (image->width % 2 || image->height % 2) {
        fail(LEHRNET_INVALID_ARGUMENT, "image is ", image->width, "x", image->height, " px, NV12 takes even numbers");
    }
    if (image->chroma_stride && image->chroma_stride < row) {
        fail(LEHRNET_INVALID_ARGUMENT, "image: chroma_stride is ", image->chroma_stride, " bytes, expected 0 or at least ",
             row);
    }
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

Affine person_affine(const float* box, const Spec& spec) {
    const double x1 = box[0], y1 = box[1], x2 = box[2], y2 = box[3];
    const double scale = spec.padding * std::max((x2 - x1) / spec.input_width, (y2 - y1) / spec.input_height);
    return {scale, (x1 + x2) / 2 - scale * (spec.input_width - 1) / 2 - 0.5,
            (y1 + y2) / 2 - scale * (spec.input_height - 1) / 2 - 0.5};
}

void crop_person(const lehrnet_image& image, const Affine& affine, const Spec& spec, std::vector<Tap>& columns,
                 float* crop) {
    switch (image.format) {
        case LEHRNET_BGR: return sample<Interleaved<2, 1, 0, 3>>(image, affine, spec, columns, crop);
        case LEHRNET_RGB: return sample<Interleaved<0, 1, 2, 3>>(image, affine, spec, columns, crop);
        case LEHRNET_BGRA: return sample<Interleaved<2, 1, 0, 4>>(image, affine, spec, columns, crop);
        case LEHRNET_RGBA: return sample<Interleaved<0, 1, 2, 4>>(image, affine, spec, columns, crop);
        case LEHRNET_GRAY: return sample<Interleaved<0, 0, 0, 1>>(image, affine, spec, columns, crop);
        case LEHRNET_NV12: return sample<Nv12>(image, affine, spec, columns, crop);
        default: fail(LEHRNET_INTERNAL, "an image was not checked");
    }
}

}  // namespace lehrnet
