// What every call promises: statuses and their words, and batches.
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>

#include "check.h"
#include "../src/json.h"
#include "../src/sha256.h"

namespace {

namespace fs = std::filesystem;

constexpr std::size_t JOINTS = 17;
const float BOXES[] = {10, 5, 40, 44, 1, 2, 30, 40, 20, 8, 60, 47};

std::string golden;
fs::path scratch;  // removed at the end

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

// A copy of a golden bundle, in which `from` stands as `to` in the file.
std::string changed(const char* file, const std::string& from, const std::string& to) {
    static int number = 0;
    const fs::path copy = scratch / std::to_string(number++);
    fs::copy(golden + "/quarter", copy);
    const std::vector<char> bytes = read_array<char>((copy / file).string());
    std::string text(bytes.begin(), bytes.end());
    const std::size_t at = text.find(from);
    CHECK(at != std::string::npos);
    text.replace(at, from.size(), to);
    std::ofstream(copy / file, std::ios::binary) << text;
    return copy.string();
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
    CHECK_FAILS(open_with(golden + "/dark", [](lehrnet_options& o) { o.device = "cpu"; }), LEHRNET_INVALID_ARGUMENT,
                "model.bin is not for this library");
    CHECK_FAILS(open_with(golden + "/dark", [](lehrnet_options& o) { o.runtime_library = "broken"; }),
                LEHRNET_BACKEND_FAILED, "asked to fail");
    CHECK_FAILS(lehrnet_options_init(nullptr, 1), LEHRNET_INVALID_ARGUMENT, "NULL");
    lehrnet_options options;
    CHECK_FAILS(lehrnet_options_init(&options, 1), LEHRNET_ABI_MISMATCH, "struct_size is 1");
    lehrnet_close(nullptr);
}

void a_bundle_that_is_not_whole_is_refused() {
    const auto manifest = [](const char* from, const char* to) { return open_with(changed("bundle.json", from, to)); };
    CHECK_FAILS(manifest("lehrnet-bundle-1", "lehrnet-bundle-9"), LEHRNET_UNKNOWN_FORMAT, "lehrnet-bundle-9");
    CHECK_FAILS(manifest("{", "["), LEHRNET_BAD_BUNDLE, "cannot be read");
    CHECK_FAILS(manifest("\"padding\"", "\"filling\""), LEHRNET_BAD_BUNDLE, "no \"padding\"");
    CHECK_FAILS(manifest("1.25", "-1.25"), LEHRNET_BAD_BUNDLE, "padding");
    CHECK_FAILS(manifest("64,", "65,"), LEHRNET_BAD_BUNDLE, "multiples of 32");
    CHECK_FAILS(manifest("\"decode\": \"quarter\"", "\"decode\": \"mean\""), LEHRNET_BAD_BUNDLE, "expected quarter");
    CHECK_FAILS(manifest("model.bin", "../model.bin"), LEHRNET_BAD_BUNDLE, "outside the bundle");
    CHECK_FAILS(manifest("model.bin", "other.bin"), LEHRNET_BAD_BUNDLE, "is missing");
    CHECK_FAILS(manifest("\"rgb\"", "\"bgr\""), LEHRNET_BAD_BUNDLE, "expected rgb");
    CHECK_FAILS(open_with(changed("model.bin", "network", "Network")), LEHRNET_HASH_DIFFERS, "has SHA-256");
    CHECK_FAILS(open_with(changed("model.bin", "network", "")), LEHRNET_HASH_DIFFERS, "bytes, expected");
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
    CHECK(std::string(info.backend) == "fake" && std::string(info.decode) == "quarter");
    for (int status = 0; status <= LEHRNET_INTERNAL; ++status) {
        CHECK(std::string(lehrnet_status_name(static_cast<lehrnet_status>(status))) != "unknown status");
    }
}

void json_is_read_as_it_is_written() {
    using lehrnet::json::parse;
    const auto value = parse(R"( {"a": [1, -2.5e3, true, null], "b": "\u00e9\ud83d\ude00\n\"", "c": {}, "d": NaN} )");
    CHECK(value["a"].array()[1].number() == -2500);
    CHECK(value["b"].string() == "\xc3\xa9\xf0\x9f\x98\x80\n\"");
    CHECK(std::isnan(value["d"].number()));
    for (const char* broken : {"", "{", "[1,]", "{\"a\" 1}", "tru", "1 2", "\"\\u12\"", "\"\\ud800\"", "\"a", "01x", "+1"}) {
        bool refused = false;
        try {
            parse(broken);
        } catch (const std::runtime_error&) {
            refused = true;
        }
        CHECK(refused);
    }
    bool refused = false;
    try {
        parse(std::string(100000, '['));
    } catch (const std::runtime_error& error) {
        refused = std::string(error.what()).find("deeply") != std::string::npos;
    }
    CHECK(refused);
}

void sha256_is_the_standard_s() {
    const auto hash = [](const std::string& text) {
        return lehrnet::sha256(reinterpret_cast<const unsigned char*>(text.data()), text.size());
    };
    CHECK(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(hash(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace

int main(int, char** arguments) {
    golden = arguments[1];
    std::string pattern = (fs::temp_directory_path() / "lehrnet-XXXXXX").string();
    scratch = mkdtemp(pattern.data());
    opening_says_what_is_wrong();
    a_bundle_that_is_not_whole_is_refused();
    lehrnet_session* session = open_fake_session(golden + "/quarter");
    running_says_what_is_wrong(session);
    far_boxes_see_black(session);
    a_run_is_its_three_steps(session);
    a_session_describes_itself(session);
    lehrnet_close(session);
    batches_and_images_do_not_change_what_is_found();
    json_is_read_as_it_is_written();
    sha256_is_the_standard_s();
    fs::remove_all(scratch);
    return failures;
}
