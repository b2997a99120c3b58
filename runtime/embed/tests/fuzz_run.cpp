// lehrnet_run on pictures of any format, size and stride, and on any boxes. $LEHRNET_GOLDEN is tests/golden.
#include <cstdlib>

#include "check.h"
#include "source.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static lehrnet_session* session = open_fake_session(std::string(std::getenv("LEHRNET_GOLDEN")) + "/dark", 2, true);
    Source source{data, size};
    lehrnet_image image{};
    image.format = source.take<std::int8_t>();
    image.width = source.take<std::uint8_t>() % 80;
    image.height = source.take<std::uint8_t>() % 80;
    image.stride = source.take<std::uint16_t>() % 400;
    image.chroma_stride = source.take<std::uint16_t>() % 400;
    const bool apart = source.take<std::uint8_t>() % 2 == 1;
    const std::size_t count = source.take<std::uint8_t>() % 5;
    float boxes[4 * 5];
    for (float& side : boxes) side = source.take<float>();

    // Just as many bytes as the format promises, so that a read beyond them is seen.
    const std::size_t luma = image.stride * static_cast<std::size_t>(image.height);
    const std::size_t chroma_stride = image.chroma_stride ? image.chroma_stride : image.stride;
    const std::size_t chroma = chroma_stride * static_cast<std::size_t>(image.height) / 2;
    const bool planar = image.format == LEHRNET_NV12;
    std::vector<std::uint8_t> pixels(luma + (planar && !apart ? chroma : 0)), plane(planar && apart ? chroma : 0);
    for (std::uint8_t& pixel : pixels) pixel = source.size ? source.take<std::uint8_t>() : static_cast<std::uint8_t>(luma);
    image.data = pixels.data();
    image.chroma = plane.empty() ? nullptr : plane.data();
    if (planar && apart && plane.empty()) return 0;
    std::vector<lehrnet_keypoint> found(count * 17);
    const lehrnet_status status = lehrnet_run(session, &image, boxes, count, found.data(), found.size());
    if (status != LEHRNET_OK && status != LEHRNET_INVALID_ARGUMENT) std::abort();
    return 0;
}
