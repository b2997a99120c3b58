// The one crop, as lehrnet/pose/crop.py defines it: exact bilinear sampling; beyond the image the picture is black.
#pragma once

#include "portable.h"

namespace lehrnet {

// Values of lehrnet_format.
enum Format : std::int32_t { BGR = 0, RGB = 1, BGRA = 2, RGBA = 3, GRAY = 4, NV12 = 5 };

// A picture in memory; of NV12 the luma, with the chroma in a plane of its own.
struct Frame {
    const std::uint8_t* data;
    const std::uint8_t* chroma;
    std::size_t stride, chroma_stride;  // bytes
    std::int32_t width, height;         // px
    std::int32_t format;
};

// From crop px to image px, on each axis: image = scale * crop + shift.
struct Affine {
    double scale_x, scale_y, x, y;
};

// What a network expects of a crop.
struct CropSpec {
    std::int32_t height, width;  // px
    double padding;
    // How the crop lies in the image (lehrnet/pose/frame.py): image = scale * (crop - middle) + centre + to_pixels, where
    // scale is stretch times the px of the box that a pixel of the crop has.
    double stretch_x, stretch_y, middle_x, middle_y, to_pixels;
    float scale[3], shift[3];  // normalized = level * scale + shift, of red, green, blue
};

// The two pixels of an axis beside a sample, and their shares; a pixel outside the image has none.
struct Tap {
    std::int32_t first, second;
    float first_share, second_share;
};

struct Colour {
    float red, green, blue;  // grey levels, 0 to 255
};

// The box, x1, y1, x2, y2 in px, widened to the crop's aspect and padded, fills the crop, as the frame has it.
LEHRNET_BOTH Affine person_affine(const float* box, const CropSpec& spec) {
    const double x1 = box[0], y1 = box[1], x2 = box[2], y2 = box[3];
    const double share = spec.padding * most((x2 - x1) / spec.width, (y2 - y1) / spec.height);
    const double scale_x = share * spec.stretch_x, scale_y = share * spec.stretch_y;
    return {scale_x, scale_y, (x1 + x2) / 2 - scale_x * spec.middle_x + spec.to_pixels,
            (y1 + y2) / 2 - scale_y * spec.middle_y + spec.to_pixels};
}

LEHRNET_BOTH Tap tap(double position, std::int32_t size) {
    if (!(position > -1 && position < size)) return {0, 0, 0, 0};
    const double before = floor(position), share = position - before;
    const auto first = static_cast<std::int32_t>(before);
    return {most(first, 0), least(first + 1, size - 1), first >= 0 ? static_cast<float>(1 - share) : 0.0f,
            first + 1 < size ? static_cast<float>(share) : 0.0f};
}

// A row of pixels of interleaved bytes: where its red, green and blue are, and how far apart pixels lie.
template <int Red, int Green, int Blue, int Step>
struct Interleaved {
    const std::uint8_t* row;

    LEHRNET_BOTH Interleaved(const Frame& frame, std::int32_t y) : row(frame.data + frame.stride * y) {}

    LEHRNET_BOTH Colour at(std::int32_t x) const {
        const std::uint8_t* pixel = row + std::size_t{Step} * x;
        return {static_cast<float>(pixel[Red]), static_cast<float>(pixel[Green]), static_cast<float>(pixel[Blue])};
    }
};

// BT.601 of limited range in units of 2^-20, rounded to bytes: what cv2.cvtColor(COLOR_YUV2RGB_NV12) computes.
struct Nv12Row {
    const std::uint8_t *luma, *chroma;

    LEHRNET_BOTH Nv12Row(const Frame& frame, std::int32_t y)
        : luma(frame.data + frame.stride * y), chroma(frame.chroma + frame.chroma_stride * (y / 2)) {}

    LEHRNET_BOTH static float level(std::int32_t value) { return static_cast<float>(clamped(value >> 20, 0, 255)); }

    LEHRNET_BOTH Colour at(std::int32_t x) const {
        const std::int32_t y = most(0, luma[x] - 16) * 1220542;
        const std::int32_t u = chroma[x / 2 * 2] - 128, v = chroma[x / 2 * 2 + 1] - 128, half = 1 << 19;
        return {level(y + half + 1673527 * v), level(y + half - 852492 * v - 409993 * u), level(y + half + 2116026 * u)};
    }
};

// Between four pixels.
template <class Row>
LEHRNET_BOTH Colour blended(const Row& upper, const Row& lower, const Tap& column, const Tap& rows) {
    const Colour a = upper.at(column.first), b = upper.at(column.second);
    const Colour c = lower.at(column.first), d = lower.at(column.second);
    const auto between = [&](float a_, float b_, float c_, float d_) {
        const float above = a_ * column.first_share + b_ * column.second_share;
        const float below = c_ * column.first_share + d_ * column.second_share;
        return above * rows.first_share + below * rows.second_share;
    };
    return {between(a.red, b.red, c.red, d.red), between(a.green, b.green, c.green, d.green),
            between(a.blue, b.blue, c.blue, d.blue)};
}

template <class Row_>
struct Tag {
    using Row = Row_;
};

// Calls visit(Tag<...>) with the kind of row that the frame has.
template <class Visit>
LEHRNET_BOTH void by_format(std::int32_t format, const Visit& visit) {
    switch (format) {
        case BGR: return visit(Tag<Interleaved<2, 1, 0, 3>>{});
        case RGB: return visit(Tag<Interleaved<0, 1, 2, 3>>{});
        case BGRA: return visit(Tag<Interleaved<2, 1, 0, 4>>{});
        case RGBA: return visit(Tag<Interleaved<0, 1, 2, 4>>{});
        case GRAY: return visit(Tag<Interleaved<0, 0, 0, 1>>{});
        default: return visit(Tag<Nv12Row>{});
    }
}

}  // namespace lehrnet
