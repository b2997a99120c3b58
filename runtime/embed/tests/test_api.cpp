// What every call promises: statuses and their words, and batches.
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>

#include "check.h"

namespace {

constexpr std::size_t JOINTS = 17;
const float BOXES[] = {10, 5, 40, 44, 1, 2, 30, 40, 20, 8, 60, 47};

std::string golden;

struct Picture {
    std::vector<std::uint8_t> bytes = read_array<std::uint8_t>(golden + "/image.u8");
    lehrnet_image image = {LEHRNET_BGR, 64, 48, bytes.data(), 64 * 3, nullptr, 0};
};

lehrnet_status open_with(const std::string& bundle, void (*change)(lehrnet_options&) = [](lehrnet_options&) {},
                         std::uint32_t version = LEHRNET_ABI_VERSION) {
    lehrnet_options options;
    lehrnet_options_init(&options, sizeof options);
    options.device = "fake";
    change(options);
    lehrnet_session* session = reinterpret_cast<lehrnet_session*>(1);
    const lehrnet_status status = lehrnet_open(bundle.c_str(), &options, version, &session);
    CHECK((status == LEHRNET_OK) == (session != nullptr));
    lehrnet_close(session);
    return status;
}

void opening_says_what_is_wrong() {
    lehrnet_session* session = nullptr;
    CHECK(lehrnet_abi_version() == LEHRNET_ABI_VERSION);
    CHECK(open_with(golden + "/dark") == LEHRNET_OK);
    CHECK_FAILS(lehrnet_open(nullptr, nullptr, 1, &session), LEHRNET_INVALID_ARGUMENT, "bundle is NULL");
    CHECK_FAILS(lehrnet_open("x", nullptr, 1, nullptr), LEHRNET_INVALID_ARGUMENT, "session is NULL");
    CHECK_FAILS(open_with(golden + "/none"), LEHRNET_NOT_FOUND, "no bundle at");
    CHECK_FAILS(open_with(golden + "/dark", [](lehrnet_options&) {}, 2), LEHRNET_ABI_MISMATCH, "version 2");
    CHECK_FAILS(open_with(golden + "/dark", [](lehrnet_options& o) { o.struct_size = 8; }), LEHRNET_ABI_MISMATCH, "is 8");
    CHECK_FAILS(open_with(golden + "/dark", [](lehrnet_options& o) { o.precision = "int8"; }), LEHRNET_NOT_FOUND,
                "has no 'int8'; it has fp32");
    CHECK_FAILS(open_with(golden + "/dark", [](lehrnet_options& o) { o.precision = nullptr; }),
                LEHRNET_INVALID_ARGUMENT, "options.precision is NULL");
    CHECK_FAILS(open_with(golden + "/dark", [](lehrnet_options& o) { o.max_batch = 0; }), LEHRNET_INVALID_ARGUMENT,
                "max_batch is 0");
    CHECK_FAILS(open_with(golden + "/dark", [](lehrnet_options& o) { o.threads = -1; }), LEHRNET_INVALID_ARGUMENT,
                "threads is -1");
    CHECK_FAILS(open_with(golden + "/dark", [](lehrnet_options& o) { o.threads = 4096; }), LEHRNET_INVALID_ARGUMENT,
                "threads is 4096, expected 0 to ");
    CHECK(open_with(golden + "/dark", [](lehrnet_options& o) {
              o.threads = 4 * static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
          }) == LEHRNET_OK);
    CHECK_FAILS(open_with(golden + "/dark", [](lehrnet_options& o) { o.max_batch = 1025; }), LEHRNET_INVALID_ARGUMENT,
                "max_batch is 1025");
    CHECK_FAILS(open_with(golden + "/dark", [](lehrnet_options& o) { o.device = "cpu"; }), LEHRNET_INVALID_ARGUMENT,
                "model.bin is not for this library");
    CHECK_FAILS(open_with(golden + "/dark", [](lehrnet_options& o) { o.runtime_library = "broken"; }),
                LEHRNET_BACKEND_FAILED, "asked to fail");
    CHECK_FAILS(lehrnet_options_init(nullptr, 1), LEHRNET_INVALID_ARGUMENT, "NULL");
    lehrnet_options options;
    CHECK_FAILS(lehrnet_options_init(&options, 1), LEHRNET_ABI_MISMATCH, "struct_size is 1");
    lehrnet_close(nullptr);
}

void running_says_what_is_wrong(lehrnet_session* session) {
    const Picture picture;
    std::vector<lehrnet_keypoint> found(3 * JOINTS);
    const auto run = [&](const lehrnet_image* image, const float* boxes, std::size_t count, std::size_t capacity) {
        return lehrnet_run(session, image, boxes, count, found.data(), capacity);
    };
    const auto run_image = [&](void (*change)(lehrnet_image&)) {
        lehrnet_image image = picture.image;
        change(image);
        return run(&image, BOXES, 1, JOINTS);
    };
    CHECK(run(&picture.image, nullptr, 0, 0) == LEHRNET_OK);
    CHECK(lehrnet_run(session, &picture.image, BOXES, 0, nullptr, 0) == LEHRNET_OK);
    CHECK(run(&picture.image, BOXES, 3, found.size()) == LEHRNET_OK);
    CHECK_FAILS(lehrnet_run(nullptr, &picture.image, BOXES, 1, found.data(), 17), LEHRNET_INVALID_ARGUMENT, "session");
    CHECK_FAILS(run(nullptr, BOXES, 1, JOINTS), LEHRNET_INVALID_ARGUMENT, "image is NULL");
    CHECK_FAILS(run(&picture.image, nullptr, 1, JOINTS), LEHRNET_INVALID_ARGUMENT, "boxes is NULL");
    CHECK_FAILS(run(&picture.image, BOXES, 2, 2 * JOINTS - 1), LEHRNET_BUFFER_TOO_SMALL, "room for 33 keypoints");
    CHECK_FAILS(lehrnet_run(session, &picture.image, BOXES, 1, nullptr, 17), LEHRNET_INVALID_ARGUMENT, "keypoints");
    CHECK_FAILS(run_image([](lehrnet_image& i) { i.data = nullptr; }), LEHRNET_INVALID_ARGUMENT, "NULL");
    CHECK_FAILS(run_image([](lehrnet_image& i) { i.format = 17; }), LEHRNET_INVALID_ARGUMENT, "format is 17");
    CHECK_FAILS(run_image([](lehrnet_image& i) { i.stride = 191; }), LEHRNET_INVALID_ARGUMENT, "stride is 191");
    CHECK_FAILS(run_image([](lehrnet_image& i) { i.width = 0; }), LEHRNET_INVALID_ARGUMENT, "image is 0x48");
    CHECK_FAILS(run_image([](lehrnet_image& i) { i.height = -1; }), LEHRNET_INVALID_ARGUMENT, "64x-1");
    CHECK_FAILS(run_image([](lehrnet_image& i) { i.format = LEHRNET_NV12, i.height = 31; }), LEHRNET_INVALID_ARGUMENT,
                "even");
    CHECK_FAILS(run_image([](lehrnet_image& i) { i.format = LEHRNET_NV12, i.height = 32, i.chroma_stride = 60; }),
                LEHRNET_INVALID_ARGUMENT, "chroma_stride is 60");
    const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
    for (const auto& box : {std::array{nan, 0.f, 1.f, 1.f}, {0.f, 0.f, infinity, 1.f}, {5.f, 0.f, 5.f, 9.f}}) {
        CHECK_FAILS(run(&picture.image, box.data(), 1, JOINTS), LEHRNET_INVALID_ARGUMENT, "box 0 is");
    }
    CHECK(run(&picture.image, BOXES, 3, found.size()) == LEHRNET_OK);  // usable after every failure
}

// Each count is more than there is to read: under the address sanitizer a look at what it counts ends the test.
void counts_are_compared_before_anything_is_read(lehrnet_session* session) {
    const Picture picture;
    std::vector<lehrnet_keypoint> found(JOINTS);
    std::vector<float> floats(8);
    const std::vector<float> box = {10, 5, 40, 44};  // on the heap, where a read beyond is seen
    for (const std::size_t count : {SIZE_MAX, SIZE_MAX / JOINTS + 2, SIZE_MAX / 4 + 2, std::size_t{1} << 40, std::size_t{2}}) {
        const lehrnet_item items[] = {{picture.image, box.data(), 1}, {picture.image, box.data(), count}};
        const std::size_t capacity = found.size();
        CHECK(lehrnet_run_many(session, items, 2, found.data(), capacity) != LEHRNET_OK);
        CHECK(lehrnet_run_network(session, floats.data(), count, floats.data(), 8) != LEHRNET_OK);
        const bool beyond = count > SIZE_MAX / 1024;  // no number of crops, maps or keypoints
        const lehrnet_status status = beyond ? LEHRNET_INVALID_ARGUMENT : LEHRNET_BUFFER_TOO_SMALL;
        const char* said = beyond ? "no memory holds" : "room for";
        CHECK_FAILS(lehrnet_crop(session, &picture.image, box.data(), count, floats.data(), 8), status, said);
        CHECK_FAILS(lehrnet_decode(session, floats.data(), box.data(), count, found.data(), capacity), status, said);
        CHECK_FAILS(lehrnet_run(session, &picture.image, box.data(), count, found.data(), capacity), status, said);
    }
    const lehrnet_item item = {picture.image, box.data(), 1};
    CHECK_FAILS(lehrnet_run_many(session, &item, SIZE_MAX, found.data(), JOINTS), LEHRNET_INVALID_ARGUMENT, "item_count");
    const lehrnet_item wraps[] = {{picture.image, box.data(), SIZE_MAX / 2 + 1}, {picture.image, box.data(), SIZE_MAX / 2 + 1}};
    CHECK_FAILS(lehrnet_run_many(session, wraps, 2, found.data(), JOINTS), LEHRNET_INVALID_ARGUMENT, "no memory holds");
}

void strides_are_bounded(lehrnet_session* session) {
    const Picture picture;
    std::vector<lehrnet_keypoint> found(JOINTS);
    const auto run = [&](std::int32_t format, std::size_t stride, std::size_t chroma_stride, bool far = false) {
        lehrnet_image image = picture.image;
        image.format = format;
        image.height = 32;
        image.stride = stride;
        image.chroma_stride = chroma_stride;
        if (far) image.data = reinterpret_cast<const std::uint8_t*>(UINTPTR_MAX - 100);
        return lehrnet_run(session, &image, BOXES, 1, found.data(), JOINTS);
    };
    CHECK(run(LEHRNET_BGR, 192, SIZE_MAX) == LEHRNET_OK);  // who has no chroma has no stride of it
    CHECK(run(LEHRNET_NV12, 64, 0) == LEHRNET_OK);
    for (const std::size_t stride : {std::size_t{0}, std::size_t{63}, (std::size_t{1} << 20) + 1, SIZE_MAX / 2 + 1,
                                     SIZE_MAX / 32 + 1, SIZE_MAX}) {
        CHECK_FAILS(run(LEHRNET_BGR, stride, 0), LEHRNET_INVALID_ARGUMENT, "image: stride is ");
        CHECK_FAILS(run(LEHRNET_NV12, stride, 64), LEHRNET_INVALID_ARGUMENT, "image: stride is ");
        if (stride) CHECK_FAILS(run(LEHRNET_NV12, 64, stride), LEHRNET_INVALID_ARGUMENT, "image: chroma_stride is ");
    }
    CHECK_FAILS(run(LEHRNET_BGR, 192, 0, true), LEHRNET_INVALID_ARGUMENT, "do not fit behind its data");
}

void results_are_finite(lehrnet_session* session) {
    const Picture picture;
    constexpr float most = std::numeric_limits<float>::max(), least = std::numeric_limits<float>::denorm_min();
    const float boxes[] = {-most, -most, most, most, most / 2, 0, most, 1, 0, 0, least, least, -most, 0, -most / 2, least};
    std::vector<lehrnet_keypoint> found(4 * JOINTS);
    CHECK(lehrnet_run(session, &picture.image, boxes, 4, found.data(), found.size()) == LEHRNET_OK);
    for (const lehrnet_keypoint& point : found) {
        CHECK(std::isfinite(point.x) && std::isfinite(point.y) && std::isfinite(point.score));
    }
}

void far_boxes_see_black(lehrnet_session* session) {
    const Picture picture;
    const float far[] = {1e30f, 1e30f, 2e30f, 2e30f, -3e38f, -3e38f, 3e38f, 3e38f, -900, -900, -800, -800};
    std::vector<float> crops(3 * 3 * 64 * 32);
    CHECK(lehrnet_crop(session, &picture.image, far, 3, crops.data(), crops.size()) == LEHRNET_OK);
    CHECK(std::abs(crops.back() + 0.406f / 0.225f) < 1e-5f);
    CHECK(std::abs(crops.front() + 0.485f / 0.229f) < 1e-5f);
}

void a_run_is_its_three_steps(lehrnet_session* session) {
    const Picture picture;
    std::vector<float> crops(3 * 3 * 64 * 32), heatmaps(3 * JOINTS * 16 * 8);
    std::vector<lehrnet_keypoint> whole(3 * JOINTS), steps(3 * JOINTS);
    CHECK(lehrnet_run(session, &picture.image, BOXES, 3, whole.data(), whole.size()) == LEHRNET_OK);
    CHECK(lehrnet_crop(session, &picture.image, BOXES, 3, crops.data(), crops.size()) == LEHRNET_OK);
    CHECK(lehrnet_run_network(session, crops.data(), 3, heatmaps.data(), heatmaps.size()) == LEHRNET_OK);
    CHECK(lehrnet_decode(session, heatmaps.data(), BOXES, 3, steps.data(), steps.size()) == LEHRNET_OK);
    CHECK(std::memcmp(whole.data(), steps.data(), whole.size() * sizeof whole[0]) == 0);
    CHECK_FAILS(lehrnet_crop(session, &picture.image, BOXES, 3, crops.data(), 10), LEHRNET_BUFFER_TOO_SMALL, "10");
    CHECK_FAILS(lehrnet_run_network(session, crops.data(), 3, heatmaps.data(), 10), LEHRNET_BUFFER_TOO_SMALL, "10");
    CHECK_FAILS(lehrnet_run_network(session, crops.data(), SIZE_MAX, heatmaps.data(), 10), LEHRNET_INVALID_ARGUMENT,
                "no memory holds");
    heatmaps[(JOINTS + 2) * 16 * 8 + 5] = std::numeric_limits<float>::quiet_NaN();
    CHECK_FAILS(lehrnet_decode(session, heatmaps.data(), BOXES, 3, steps.data(), steps.size()), LEHRNET_BAD_HEATMAP,
                "person 1, joint 2");
}

void batches_and_images_do_not_change_what_is_found() {
    const Picture picture;
    for (const bool flip : {false, true}) {
        lehrnet_session* large = open_fake_session(golden + "/dark", 32, flip);
        lehrnet_session* small = open_fake_session(golden + "/dark", 2, flip);
        std::vector<lehrnet_keypoint> wanted(3 * JOINTS), found(3 * JOINTS);
        CHECK(lehrnet_run(large, &picture.image, BOXES, 3, wanted.data(), wanted.size()) == LEHRNET_OK);
        CHECK(lehrnet_run(small, &picture.image, BOXES, 3, found.data(), found.size()) == LEHRNET_OK);
        CHECK(std::memcmp(wanted.data(), found.data(), found.size() * sizeof found[0]) == 0);
        const lehrnet_item items[] = {{picture.image, BOXES, 1}, {picture.image, nullptr, 0}, {picture.image, BOXES + 4, 2}};
        std::fill(found.begin(), found.end(), lehrnet_keypoint{});
        CHECK(lehrnet_run_many(small, items, 3, found.data(), found.size()) == LEHRNET_OK);
        CHECK(std::memcmp(wanted.data(), found.data(), found.size() * sizeof found[0]) == 0);
        CHECK_FAILS(lehrnet_run_many(small, nullptr, 1, found.data(), 9), LEHRNET_INVALID_ARGUMENT, "items is NULL");
        lehrnet_close(large);
        lehrnet_close(small);
    }
}

void a_session_describes_itself(lehrnet_session* session) {
    lehrnet_info info{};
    CHECK_FAILS(lehrnet_describe(session, &info), LEHRNET_ABI_MISMATCH, "info.struct_size is 0");
    info.struct_size = sizeof info;
    CHECK(lehrnet_describe(session, &info) == LEHRNET_OK);
    CHECK(info.joints == 17 && std::string(info.joint_names[16]) == "right_ankle");
    CHECK(info.limb_count == 19 && info.limbs[0] == 15 && info.limbs[1] == 13);
    CHECK(info.input_height == 64 && info.input_width == 32 && info.heatmap_height == 16 && info.heatmap_width == 8);
    CHECK(std::string(info.note) == "golden file, caf\xc3\xa9" && info.trained == 0);
    CHECK(info.min_score == 0.2f);
    std::size_t steps = 0;
    double peak = 0;
    CHECK_FAILS(lehrnet_profile(session, 1, nullptr, 0, &steps, &peak), LEHRNET_INVALID_ARGUMENT, "runs by fake");
    CHECK_FAILS(lehrnet_profile(session, 0, nullptr, 0, &steps, &peak), LEHRNET_INVALID_ARGUMENT, "rounds is 0");
    CHECK_FAILS(lehrnet_profile(session, 1, nullptr, 1, &steps, &peak), LEHRNET_INVALID_ARGUMENT, "steps is NULL");
    CHECK(std::string(info.backend) == "fake" && std::string(info.decode) == "quarter");
    for (int status = 0; status <= LEHRNET_INTERNAL; ++status) {
        CHECK(std::string(lehrnet_status_name(static_cast<lehrnet_status>(status))) != "unknown status");
    }
}

}  // namespace

int main(int, char** arguments) {
    golden = arguments[1];
    opening_says_what_is_wrong();
    lehrnet_session* session = open_fake_session(golden + "/quarter");
    running_says_what_is_wrong(session);
    counts_are_compared_before_anything_is_read(session);
    strides_are_bounded(session);
    results_are_finite(session);
    far_boxes_see_black(session);
    a_run_is_its_three_steps(session);
    a_session_describes_itself(session);
    lehrnet_close(session);
    batches_and_images_do_not_change_what_is_found();
    return failures;
}
