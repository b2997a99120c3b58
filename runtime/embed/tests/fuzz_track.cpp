// Trackers of any options on frames of any size, time and detections, and resets between them. What is refused changes
// nothing, what is found is finite and named once. $LEHRNET_GOLDEN is tests/golden.
#include <cmath>
#include <cstdlib>

#include "check.h"
#include "source.h"

namespace {

using Options = lehrnet_tracker_options;

constexpr std::size_t JOINTS = 17, PIXELS = std::size_t{3} * 64 * 64;
constexpr double Options::*NUMBERS[] = {
    &Options::death_s,        &Options::birth_s,       &Options::hidden_birth_s, &Options::hidden_share, &Options::min_score,
    &Options::keep_score,     &Options::support_s,     &Options::match_iou,      &Options::match_oks,    &Options::duplicate_iou,
    &Options::duplicate_oks,  &Options::match_distance, &Options::match_noise,   &Options::position_noise, &Options::agility,
    &Options::size_noise,     &Options::slowing_s,     &Options::min_cutoff_hz,  &Options::beta,         &Options::speed_cutoff_hz};

void need(bool condition) {
    if (!condition) std::abort();
}

// Mostly near what is usual, sometimes anything.
double number_from(Source& source, double usual) {
    const auto kind = source.take<std::uint8_t>();
    return kind < 220 ? usual * (1 + kind % 32) / 16 : source.take<double>();
}

Options options_from(Source& source) {
    Options options;
    lehrnet_tracker_options_init(&options, sizeof options);
    options.streams = static_cast<std::int32_t>(source.size_of_something(3));
    options.max_people = static_cast<std::int32_t>(source.size_of_something(4));
    options.smooth = source.take<std::uint8_t>() % 2;
    if (source.take<std::uint8_t>() % 2) return options;
    for (double Options::*const each : NUMBERS) options.*each = number_from(source, options.*each);
    return options;
}

// Its memory is what its numbers say.
lehrnet_frame frame_from(Source& source, double& time_s, std::vector<std::uint8_t>& pixels, std::vector<float>& boxes,
                         std::vector<float>& scores) {
    lehrnet_frame frame{};
    frame.stream = static_cast<std::int32_t>(source.size_of_something(2));
    // Narrow frames are searched by hundreds of windows, which takes long: they are rare.
    const auto side_from = [&] { return std::int32_t{source.take<std::uint8_t>()}; };
    const std::int32_t least = source.take<std::uint8_t>() > 240 ? 0 : 32;
    const std::int32_t width = std::max(least, side_from() % 65), height = std::max(least, side_from() % 65);
    pixels.resize(PIXELS);
    for (std::size_t i = 0; i < 64; ++i) pixels[i * 97 % PIXELS] = source.take<std::uint8_t>();
    frame.image = {LEHRNET_BGR, width, height, pixels.data(), 3 * 64, nullptr, 0};
    time_s += number_from(source, 0.03);
    frame.time_s = time_s;
    frame.detected = source.take<std::uint8_t>() % 3;
    frame.count = source.take<std::uint8_t>() % 6;
    for (std::size_t i = 0; i < frame.count; ++i) {
        const bool any = source.take<std::uint8_t>() > 220;
        const float x = source.take<std::int8_t>() / 2.0f, y = source.take<std::int8_t>() / 2.0f;
        const float box[] = {x, y, x + source.take<std::uint8_t>() / 4.0f, y + source.take<std::uint8_t>() / 4.0f};
        for (const float side : box) boxes.push_back(any ? source.take<float>() : side);
        scores.push_back(any ? source.take<float>() : source.take<std::uint8_t>() / 255.0f);
    }
    frame.boxes = boxes.data();
    frame.scores = source.take<std::uint8_t>() % 2 ? scores.data() : nullptr;
    return frame;
}

void check_people(const lehrnet_person* people, std::size_t count, const Options& options) {
    need(count <= static_cast<std::size_t>(options.streams * options.max_people));
    for (std::size_t i = 0; i < count; ++i) {
        const lehrnet_person& person = people[i];
        need(person.id > 0 && person.stream >= 0 && person.stream < options.streams);
        need(i == 0 || people[i - 1].stream != person.stream || people[i - 1].id < person.id);
        need(!person.smoothed == !options.smooth);
        for (std::size_t joint = 0; joint < JOINTS; ++joint) {
            need(std::isfinite(person.keypoints[joint].x) && std::isfinite(person.keypoints[joint].y));
            need(person.visible[joint] <= 1);
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::string golden = std::getenv("LEHRNET_GOLDEN");
    static lehrnet_session* sessions[] = {open_fake_session(golden + "/quarter", 4), open_fake_session(golden + "/dark", 4)};
    Source source{data, size};
    const Options options = options_from(source);
    lehrnet_tracker* tracker = nullptr;
    const lehrnet_status made = lehrnet_tracker_create(sessions[source.take<std::uint8_t>() % 2], &options, &tracker);
    if (made != LEHRNET_OK) {
        need(!tracker && made == LEHRNET_INVALID_ARGUMENT);
        return 0;
    }
    double time_s = 0;
    for (int turn = 0; turn < 8 && source.size > 0; ++turn) {
        std::vector<std::uint8_t> pixels[2];
        std::vector<float> boxes[2], scores[2];
        lehrnet_frame frames[2];
        const std::size_t count = 1 + source.take<std::uint8_t>() % 2;
        for (std::size_t i = 0; i < count; ++i) frames[i] = frame_from(source, time_s, pixels[i], boxes[i], scores[i]);
        const lehrnet_person* people = nullptr;
        std::size_t found = 0;
        const lehrnet_status status = lehrnet_tracker_update(tracker, frames, count, &people, &found);
        need(status == LEHRNET_OK || (status == LEHRNET_INVALID_ARGUMENT && found == 0));
        check_people(people, found, options);
        if (source.take<std::uint8_t>() > 240) lehrnet_tracker_reset(tracker, source.take<std::int8_t>());
    }
    lehrnet_tracker_close(tracker);
    return 0;
}
