// The definitions in C++ against golden files of those in Python (write_golden.py).
#include <algorithm>
#include <cmath>

#include "check.h"
#include "../src/decode.h"

namespace {

constexpr std::size_t PEOPLE = 5, JOINTS = 17, CROP = 3 * 64 * 32, MAPS = JOINTS * 16 * 8;
constexpr float LEVEL = 1 / (255 * 0.224f);  // a grey level of 255, of a normalized crop
constexpr float PX = 0.01f;

std::string golden;

template <class Number>
float largest_difference(const std::vector<Number>& found, const std::vector<Number>& wanted) {
    CHECK(found.size() == wanted.size());
    float worst = 0;
    for (std::size_t i = 0; i < std::min(found.size(), wanted.size()); ++i) {
        worst = std::max(worst, std::abs(found[i] - wanted[i]));
    }
    return worst;
}

std::vector<float> crops_of(lehrnet_session* session, const lehrnet_image& image, std::size_t people) {
    const std::vector<float> boxes = read_array<float>(golden + "/boxes.f32");
    std::vector<float> crops(people * CROP);
    CHECK(lehrnet_crop(session, &image, boxes.data(), people, crops.data(), crops.size()) == LEHRNET_OK);
    return crops;
}

// The picture with `stride` bytes a row, whose pixels are `order` of BGR and whatever.
lehrnet_image repacked(std::vector<std::uint8_t>& memory, const std::vector<int>& order, std::int32_t format,
                       std::size_t stride) {
    const std::vector<std::uint8_t> bgr = read_array<std::uint8_t>(golden + "/image.u8");
    memory.assign(48 * stride, 99);
    for (std::size_t y = 0; y < 48; ++y) {
        for (std::size_t x = 0; x < 64; ++x) {
            for (std::size_t i = 0; i < order.size(); ++i) {
                memory[y * stride + x * order.size() + i] = order[i] < 0 ? 7 : bgr[(y * 64 + x) * 3 + order[i]];
            }
        }
    }
    return {format, 64, 48, memory.data(), stride, nullptr, 0};
}

void crops_are_python_s(lehrnet_session* session, const std::string& name = "crops") {
    const std::vector<float> wanted = read_array<float>(golden + "/" + name + ".f32");
    std::vector<std::uint8_t> memory;
    const auto difference = [&](const lehrnet_image& image) {
        return largest_difference(crops_of(session, image, PEOPLE), wanted);
    };
    CHECK(difference(repacked(memory, {0, 1, 2}, LEHRNET_BGR, 64 * 3)) < LEVEL / 100);
    CHECK(difference(repacked(memory, {0, 1, 2}, LEHRNET_BGR, 201)) < LEVEL / 100);
    CHECK(difference(repacked(memory, {2, 1, 0}, LEHRNET_RGB, 64 * 3)) < LEVEL / 100);
    CHECK(difference(repacked(memory, {0, 1, 2, -1}, LEHRNET_BGRA, 64 * 4)) < LEVEL / 100);
    CHECK(difference(repacked(memory, {2, 1, 0, -1}, LEHRNET_RGBA, 300)) < LEVEL / 100);
}

void gray_is_all_three_colours(lehrnet_session* session) {
    std::vector<std::uint8_t> one, three;
    const lehrnet_image gray = repacked(one, {1}, LEHRNET_GRAY, 64);
    const lehrnet_image colours = repacked(three, {1, 1, 1}, LEHRNET_BGR, 64 * 3);
    CHECK(crops_of(session, gray, PEOPLE) == crops_of(session, colours, PEOPLE));
}

void nv12_is_opencv_s(lehrnet_session* session) {
    const std::vector<std::uint8_t> memory = read_array<std::uint8_t>(golden + "/nv12.u8");
    const std::vector<float> wanted = read_array<float>(golden + "/crops_nv12.f32");
    lehrnet_image image = {LEHRNET_NV12, 64, 48, memory.data(), 64, nullptr, 0};
    CHECK(largest_difference(crops_of(session, image, 2), wanted) < LEVEL / 100);
    image.chroma = memory.data() + 64 * 48;
    image.chroma_stride = 64;
    CHECK(largest_difference(crops_of(session, image, 2), wanted) < LEVEL / 100);
}

void keypoints_are_python_s(lehrnet_session* session, const std::string& method) {
    const std::vector<float> heatmaps = read_array<float>(golden + "/heatmaps.f32");
    const std::vector<float> boxes = read_array<float>(golden + "/boxes.f32");
    const std::vector<float> wanted = read_array<float>(golden + "/keypoints_" + method + ".f32");
    std::vector<lehrnet_keypoint> found(PEOPLE * JOINTS);
    CHECK(lehrnet_decode(session, heatmaps.data(), boxes.data(), PEOPLE, found.data(), found.size()) == LEHRNET_OK);
    CHECK(wanted.size() == 3 * found.size());
    float worst = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
        worst = std::max({worst, std::abs(found[i].x - wanted[3 * i]), std::abs(found[i].y - wanted[3 * i + 1])});
        CHECK(found[i].score == wanted[3 * i + 2]);
    }
    CHECK(worst < PX / 10);
}

void flipped_heatmaps_are_fused_as_python_does(std::int32_t frame, const std::string& name) {
    lehrnet::Spec spec;
    spec.frame = frame;
    spec.joints.assign(JOINTS, "");
    spec.input_height = 64;
    spec.input_width = 32;
    std::vector<int> mirror = {0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15};
    const std::vector<float> heatmaps = read_array<float>(golden + "/heatmaps.f32");
    std::vector<float> fused = heatmaps;
    for (std::size_t i = 0; i < PEOPLE; ++i) {
        lehrnet::fuse_flipped(fused.data() + i * MAPS, heatmaps.data() + (PEOPLE - 1 - i) * MAPS, mirror, spec);
    }
    CHECK(largest_difference(fused, read_array<float>(golden + "/" + name + ".f32")) == 0);
}

}  // namespace

int main(int, char** arguments) {
    golden = arguments[1];
    for (const std::string method : {"quarter", "dark", "udp", "hrnet", "udp_frame"}) {
        lehrnet_session* session = open_fake_session(golden + "/" + method);
        keypoints_are_python_s(session, method);
        lehrnet_close(session);
    }
    for (const std::string frame : {"hrnet", "udp_frame"}) {
        lehrnet_session* session = open_fake_session(golden + "/" + frame);
        crops_are_python_s(session, "crops_" + frame);
        lehrnet_close(session);
    }
    lehrnet_session* session = open_fake_session(golden + "/quarter");
    crops_are_python_s(session);
    gray_is_all_three_colours(session);
    nv12_is_opencv_s(session);
    lehrnet_close(session);
    flipped_heatmaps_are_fused_as_python_does(lehrnet::FRAME_EDGES, "fused");
    flipped_heatmaps_are_fused_as_python_does(lehrnet::FRAME_HRNET, "fused_hrnet");
    return failures;
}
