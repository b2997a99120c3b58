// The tracker against golden files of Python's (write_golden_tracks.py), and what it says of bad input.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "check.h"
#include "scenes.h"

namespace {

using scenes::Scene;

constexpr std::size_t JOINTS = scenes::JOINTS, ROW = 7 + 5 * JOINTS;
constexpr float PX = 0.01f;
constexpr double NOT_A_NUMBER = std::numeric_limits<double>::quiet_NaN();

std::string golden;

lehrnet_tracker_options usual(std::int32_t streams = 1) {
    lehrnet_tracker_options options;
    CHECK(lehrnet_tracker_options_init(&options, sizeof options) == LEHRNET_OK);
    options.streams = streams;
    options.max_people = 4;
    return options;
}

struct Tracker {
    lehrnet_session* session = open_fake_session(golden + "/quarter", 3);
    lehrnet_tracker* tracker = nullptr;
    const lehrnet_person* people = nullptr;
    std::size_t count = 0;

    explicit Tracker(const lehrnet_tracker_options& options) {
        CHECK(lehrnet_tracker_create(session, &options, &tracker) == LEHRNET_OK);
    }
    ~Tracker() {
        lehrnet_tracker_close(tracker);
        lehrnet_close(session);
    }
    lehrnet_status update(const lehrnet_frame* frames, std::size_t frame_count) {
        return lehrnet_tracker_update(tracker, frames, frame_count, &people, &count);
    }
};

// A person as a row of the golden file.
void append(std::vector<float>& rows, std::size_t frame, const lehrnet_person& person) {
    rows.insert(rows.end(), {static_cast<float>(frame), static_cast<float>(person.stream), static_cast<float>(person.id)});
    rows.insert(rows.end(), person.box, person.box + 4);
    for (std::size_t joint = 0; joint < JOINTS; ++joint) {
        const lehrnet_keypoint& point = person.keypoints[joint];
        rows.insert(rows.end(), {point.x, point.y, point.score});
        CHECK(person.visible[joint] == (point.score >= 0.2f));
        CHECK(person.smoothed && person.smoothed[joint].score == point.score);
    }
    for (std::size_t joint = 0; joint < JOINTS && person.smoothed; ++joint) {
        rows.insert(rows.end(), {person.smoothed[joint].x, person.smoothed[joint].y});
    }
}

std::vector<float> follow(Tracker& tracker, const std::vector<Scene>& story) {
    std::vector<float> rows;
    std::vector<std::uint8_t> together, alone;
    for (std::size_t number = 0; number < story.size(); ++number) {
        scenes::draw(story[number], scenes::PEOPLE, together);
        scenes::draw(story[number], 1, alone);
        const lehrnet_frame frames[] = {scenes::frame_of(0, story[number], together, true),
                                        scenes::frame_of(1, story[number], alone, false)};
        CHECK(tracker.update(frames, number % 2 ? 1 : 2) == LEHRNET_OK);
        for (std::size_t i = 0; i < tracker.count; ++i) append(rows, number, tracker.people[i]);
    }
    return rows;
}

void people_are_python_s() {
    const std::vector<float> wanted = read_array<float>(golden + "/track_people.f32");
    const std::vector<Scene> story = scenes::read_scenes(golden);
    lehrnet_tracker_options options = usual(2);
    options.smooth = 1;
    Tracker tracker(options);
    const std::vector<float> found = follow(tracker, story);
    CHECK(wanted.size() > 100 * ROW);
    CHECK(found.size() == wanted.size());
    float worst = 0;
    for (std::size_t i = 0; i < std::min(found.size(), wanted.size()); ++i) {
        if (i % ROW < 3) CHECK(found[i] == wanted[i]);
        worst = std::max(worst, std::abs(found[i] - wanted[i]));
    }
    CHECK(worst < PX);
    for (const std::int32_t stream : {0, 1}) CHECK(lehrnet_tracker_reset(tracker.tracker, stream) == LEHRNET_OK);
    CHECK(follow(tracker, story) == found);  // after a reset all is as it was
}

void without_smoothing_joints_are_raw() {
    Tracker tracker(usual());
    const std::vector<Scene> story = scenes::read_scenes(golden);
    std::vector<std::uint8_t> pixels;
    scenes::draw(story[0], scenes::PEOPLE, pixels);
    const lehrnet_frame frame = scenes::frame_of(0, story[0], pixels, true);
    CHECK(tracker.update(&frame, 1) == LEHRNET_OK);
    CHECK(tracker.count == 2 && tracker.people[0].id == 1 && tracker.people[1].id == 2);
    CHECK(tracker.count > 0 && !tracker.people[0].smoothed);
    CHECK(tracker.update(nullptr, 0) == LEHRNET_OK);  // no stream has a frame
    CHECK(tracker.count == 0);
}

void frames_that_make_no_sense_are_refused() {
    Tracker tracker(usual(2));
    const std::vector<Scene> story = scenes::read_scenes(golden);
    std::vector<std::uint8_t> pixels;
    scenes::draw(story[0], scenes::PEOPLE, pixels);
    const lehrnet_frame good = scenes::frame_of(0, story[0], pixels, true);
    CHECK(tracker.update(&good, 1) == LEHRNET_OK);
    const auto refused = [&](const lehrnet_frame& frame, const char* phrase) {
        CHECK_FAILS(tracker.update(&frame, 1), LEHRNET_INVALID_ARGUMENT, phrase);
        CHECK(tracker.count == 0 && !tracker.people);
    };
    lehrnet_frame frame = good;
    frame.time_s = -1;
    refused(frame, "a frame at -1.000 s follows one at 0.062 s; time must not run backwards");
    frame.time_s = NOT_A_NUMBER;
    refused(frame, "a frame's time is nan, expected seconds");
    frame = good, frame.stream = 2;
    refused(frame, "stream is 2, expected 0 to 1");
    frame = good, frame.image.width = 0;
    refused(frame, "image is 0x96 px, expected 1 to 65536 each way");
    frame = good, frame.image.data = nullptr;
    refused(frame, "image, or its data, is NULL");
    frame = good, frame.boxes = nullptr;
    refused(frame, "boxes is NULL, but their count is 2");
    frame = good, frame.count = 1025;
    refused(frame, "a frame has 1025 boxes, expected at most 1024");
    std::vector<float> boxes(good.boxes, good.boxes + 8);
    frame = good, frame.boxes = boxes.data();
    boxes[5] = std::numeric_limits<float>::quiet_NaN();
    refused(frame, "box 1 is ");
    boxes[5] = -2e7f;
    refused(frame, "expected px within 1e+07 of the image's corner");
    const float scores[] = {1, std::numeric_limits<float>::infinity()};
    frame = good, frame.scores = scores;
    refused(frame, "the score of box 1 is inf, expected a number");
    const lehrnet_frame twice[] = {good, good};
    CHECK_FAILS(tracker.update(twice, 2), LEHRNET_INVALID_ARGUMENT, "stream 0 has two frames");
    CHECK_FAILS(tracker.update(twice, 3), LEHRNET_INVALID_ARGUMENT, "3 frames for 2 streams");
    CHECK_FAILS(tracker.update(nullptr, 1), LEHRNET_INVALID_ARGUMENT, "frames is NULL, but their count is 1");
    CHECK(tracker.update(&good, 1) == LEHRNET_OK);  // the same time once more: nothing was changed
    CHECK(tracker.count == 2 && tracker.people[1].id == 2);
}

void calls_that_make_no_sense_are_refused() {
    Tracker tracker(usual());
    lehrnet_tracker* none = nullptr;
    std::size_t count = 0;
    CHECK_FAILS(lehrnet_tracker_create(nullptr, nullptr, &none), LEHRNET_INVALID_ARGUMENT, "session is NULL");
    CHECK_FAILS(lehrnet_tracker_create(tracker.session, nullptr, nullptr), LEHRNET_INVALID_ARGUMENT, "tracker is NULL");
    CHECK_FAILS(lehrnet_tracker_update(nullptr, nullptr, 0, &tracker.people, &count), LEHRNET_INVALID_ARGUMENT, "tracker is NULL");
    CHECK_FAILS(lehrnet_tracker_update(tracker.tracker, nullptr, 0, nullptr, &count), LEHRNET_INVALID_ARGUMENT, "people is NULL");
    CHECK_FAILS(lehrnet_tracker_update(tracker.tracker, nullptr, 0, &tracker.people, nullptr), LEHRNET_INVALID_ARGUMENT, "count is NULL");
    CHECK_FAILS(lehrnet_tracker_reset(tracker.tracker, 1), LEHRNET_INVALID_ARGUMENT, "stream is 1, expected 0 to 0");
    CHECK_FAILS(lehrnet_tracker_reset(nullptr, 0), LEHRNET_INVALID_ARGUMENT, "tracker is NULL");
    CHECK_FAILS(lehrnet_tracker_options_init(nullptr, 1), LEHRNET_INVALID_ARGUMENT, "options is NULL");
    lehrnet_tracker_options options;
    CHECK_FAILS(lehrnet_tracker_options_init(&options, 8), LEHRNET_ABI_MISMATCH, "struct_size is 8");
    lehrnet_tracker_close(nullptr);
}

void options_that_make_no_sense_are_refused() {
    lehrnet_session* session = open_fake_session(golden + "/quarter", 3);
    const auto refused = [&](const lehrnet_tracker_options& options, lehrnet_status status, const char* phrase) {
        lehrnet_tracker* tracker = nullptr;
        CHECK_FAILS(lehrnet_tracker_create(session, &options, &tracker), status, phrase);
        CHECK(!tracker);
    };
    lehrnet_tracker_options options = usual(65);
    refused(options, LEHRNET_INVALID_ARGUMENT, "streams is 65, expected 1 to 64");
    options = usual(), options.max_people = 0;
    refused(options, LEHRNET_INVALID_ARGUMENT, "max_people is 0, expected 1 to 256");
    options = usual(), options.death_s = 0;
    refused(options, LEHRNET_INVALID_ARGUMENT, "death_s is 0, expected a number above 0");
    options = usual(), options.agility = NOT_A_NUMBER;
    refused(options, LEHRNET_INVALID_ARGUMENT, "agility is nan, expected a number above 0");
    options = usual(), options.match_iou = 1.5;
    refused(options, LEHRNET_INVALID_ARGUMENT, "match_iou is 1.5, expected at most 1");
    options = usual(), options.birth_s = 3;
    refused(options, LEHRNET_INVALID_ARGUMENT, "birth_s is 3 and hidden_birth_s 1, expected 0 or more");
    options = usual(), options.min_cutoff_hz = 0;
    refused(options, LEHRNET_INVALID_ARGUMENT, "expected positive cutoffs and a beta of at least 0");
    options = usual(), options.struct_size = 8;
    refused(options, LEHRNET_ABI_MISMATCH, "options.struct_size is 8, expected ");
    lehrnet_close(session);
}

// Frames of any shape, and gaps of years.
void odd_streams_end_nothing() {
    lehrnet_tracker_options options = usual();
    options.birth_s = 0;
    options.death_s = 1e300;
    Tracker tracker(options);
    std::vector<std::uint8_t> pixels(std::size_t{3} << 16, 200);
    double time_s = 0;
    for (const auto& [width, height] : {std::pair(1, 1), {65536, 1}, {1, 65536}, {2, 30000}, {300, 200}}) {
        CHECK(lehrnet_tracker_reset(tracker.tracker, 0) == LEHRNET_OK);
        for (int i = 0; i < 3; ++i) {
            time_s = time_s * 1e18 + i;
            lehrnet_frame frame{};
            frame.image = {LEHRNET_BGR, width, height, pixels.data(), 3 * static_cast<std::size_t>(width), nullptr, 0};
            frame.time_s = time_s;
            CHECK(tracker.update(&frame, 1) == LEHRNET_OK);
        }
        time_s = 0;
    }
}

}  // namespace

int main(int, char** arguments) {
    golden = arguments[1];
    people_are_python_s();
    without_smoothing_joints_are_raw();
    frames_that_make_no_sense_are_refused();
    calls_that_make_no_sense_are_refused();
    options_that_make_no_sense_are_refused();
    odd_streams_end_nothing();
    return failures;
}
