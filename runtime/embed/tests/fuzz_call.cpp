// Every call with any numbers: sizes, strides, counts, capacities. What is refused must not have been read, what is
// done must be finite. $LEHRNET_GOLDEN is tests/golden.
#include <cmath>
#include <cstdlib>

#include "check.h"
#include "source.h"

namespace {

constexpr std::size_t JOINTS = 17, CROP = 3 * 64 * 32, MAPS = JOINTS * 16 * 8;
constexpr std::size_t MOST_BYTES = 1 << 16;

// The picture's numbers are as they come; its memory is as large as they say, or they are far beyond what is taken.
lehrnet_image image_from(Source& source, std::vector<std::uint8_t>& pixels, std::vector<std::uint8_t>& plane) {
    lehrnet_image image{};
    image.format = source.take<std::int8_t>() % 8;
    image.width = static_cast<std::int32_t>(source.size_of_something(40));
    image.height = static_cast<std::int32_t>(source.size_of_something(40));
    image.stride = static_cast<std::size_t>(source.size_of_something(199));
    image.chroma_stride = static_cast<std::size_t>(source.size_of_something(99));
    const auto rows = static_cast<std::size_t>(image.height > 0 && image.height < 100 ? image.height : 0);
    const std::size_t luma = image.stride < MOST_BYTES ? image.stride * rows : 0;
    const std::size_t stride = image.chroma_stride ? image.chroma_stride : image.stride;
    const std::size_t chroma = stride < MOST_BYTES ? stride * (rows / 2) : 0;
    const bool apart = source.take<std::uint8_t>() % 2 == 1;
    pixels.assign(luma + (apart ? 0 : chroma), source.take<std::uint8_t>());
    plane.assign(apart ? chroma : 0, source.take<std::uint8_t>());
    image.data = pixels.empty() ? nullptr : pixels.data();
    image.chroma = plane.empty() ? nullptr : plane.data();
    return image;
}

// Whether the picture's memory is what its numbers say, so that a call may take it.
bool backed(const lehrnet_image& image) {
    const std::size_t stride = image.chroma_stride ? image.chroma_stride : image.stride;
    return image.height < 100 && image.stride < MOST_BYTES && (image.format != LEHRNET_NV12 || stride < MOST_BYTES);
}

void run(lehrnet_session* session, const lehrnet_image& image, Source& source) {
    const std::size_t people = source.take<std::uint8_t>() % 4;
    const std::size_t count = source.take<std::uint8_t>() % 2 ? people : static_cast<std::size_t>(source.size_of_something(3));
    if (count > people && count <= 8) return;  // a caller who has fewer boxes than he says
    std::vector<float> boxes(4 * people);
    for (float& side : boxes) side = source.take<float>();
    std::vector<lehrnet_keypoint> found(people * JOINTS);
    const lehrnet_item items[] = {{image, boxes.data(), count}, {image, boxes.data(), 0}};
    const bool many = source.take<std::uint8_t>() % 2 == 1;
    const lehrnet_status status = many ? lehrnet_run_many(session, items, 2, found.data(), found.size())
                                       : lehrnet_run(session, &image, boxes.data(), count, found.data(), found.size());
    std::vector<float> crops(people * CROP);
    if (lehrnet_crop(session, &image, boxes.data(), count, crops.data(), crops.size()) == LEHRNET_OK) {
        for (const float level : crops) {
            if (!std::isfinite(level)) std::abort();
        }
    }
    for (const lehrnet_keypoint& point : found) {
        if (status == LEHRNET_OK && count == people && !(std::isfinite(point.x) && std::isfinite(point.y))) std::abort();
    }
}

void decode(lehrnet_session* session, Source& source) {
    const std::size_t count = source.take<std::uint8_t>() % 3;
    std::vector<float> heatmaps(count * MAPS), boxes(4 * count);
    for (float& side : boxes) side = source.take<float>();
    for (float& cell : heatmaps) cell = source.size ? source.take<float>() : 0.1f;
    std::vector<lehrnet_keypoint> found(count * JOINTS);
    const lehrnet_status status = lehrnet_decode(session, heatmaps.data(), boxes.data(), count, found.data(), found.size());
    for (const lehrnet_keypoint& point : found) {
        if (status == LEHRNET_OK && !(std::isfinite(point.x) && std::isfinite(point.y) && std::isfinite(point.score))) std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::string golden = std::getenv("LEHRNET_GOLDEN");
    static lehrnet_session* sessions[] = {open_fake_session(golden + "/quarter", 2), open_fake_session(golden + "/dark", 2),
                                          open_fake_session(golden + "/udp", 2, true)};
    Source source{data, size};
    lehrnet_session* session = sessions[source.take<std::uint8_t>() % 3];
    if (source.take<std::uint8_t>() % 2) {
        decode(session, source);
        return 0;
    }
    std::vector<std::uint8_t> pixels, plane;
    const lehrnet_image image = image_from(source, pixels, plane);
    if (backed(image)) {
        run(session, image, source);
        return 0;
    }
    lehrnet_keypoint found[JOINTS];
    const float box[] = {0, 0, 9, 9};
    if (image.stride > 1 << 20 && lehrnet_run(session, &image, box, 1, found, JOINTS) == LEHRNET_OK) std::abort();
    return 0;
}
