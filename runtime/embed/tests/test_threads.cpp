// Eight threads with a session and a tracker each find what one thread finds; errors are each thread's own. For
// ThreadSanitizer.
#include <cstring>
#include <thread>

#include "check.h"
#include "scenes.h"

namespace {

// The places of all people of a story, told by a tracker of this thread's.
std::vector<float> followed(const std::string& golden, int max_batch) {
    lehrnet_session* session = open_fake_session(golden + "/quarter", max_batch);
    lehrnet_tracker* tracker = nullptr;
    lehrnet_tracker_create(session, nullptr, &tracker);
    std::vector<float> places;
    std::vector<std::uint8_t> pixels;
    for (const scenes::Scene& scene : scenes::read_scenes(golden)) {
        scenes::draw(scene, scenes::PEOPLE, pixels);
        const lehrnet_frame frame = scenes::frame_of(0, scene, pixels, true);
        const lehrnet_person* people = nullptr;
        std::size_t count = 0;
        lehrnet_tracker_update(tracker, &frame, 1, &people, &count);
        for (std::size_t i = 0; i < count; ++i) places.insert(places.end(), people[i].box, people[i].box + 4);
    }
    lehrnet_tracker_close(tracker);
    lehrnet_close(session);
    return places;
}

}  // namespace

int main(int, char** arguments) {
    const std::string golden = arguments[1];
    const std::vector<std::uint8_t> bytes = read_array<std::uint8_t>(golden + "/image.u8");
    const std::vector<float> boxes = read_array<float>(golden + "/boxes.f32");
    const lehrnet_image image = {LEHRNET_BGR, 64, 48, bytes.data(), 64 * 3, nullptr, 0};
    constexpr int THREADS = 8;
    std::vector<std::vector<lehrnet_keypoint>> found(THREADS, std::vector<lehrnet_keypoint>(5 * 17));
    std::vector<std::string> errors(THREADS);
    std::vector<std::vector<float>> places(THREADS);
    std::vector<std::thread> threads;
    for (int i = 0; i < THREADS; ++i) {
        threads.emplace_back([&, i] {
            lehrnet_session* session = open_fake_session(golden + "/udp", 1 + i % 3);
            lehrnet_image broken = image;
            broken.stride = static_cast<std::size_t>(i);
            for (int turn = 0; turn < 50; ++turn) {
                lehrnet_run(session, &image, boxes.data(), 5, found[i].data(), found[i].size());
                lehrnet_run(session, &broken, boxes.data(), 5, found[i].data(), found[i].size());
                errors[i] = lehrnet_last_error();
            }
            lehrnet_close(session);
            places[i] = followed(golden, 1 + i % 3);
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (int i = 0; i < THREADS; ++i) {
        CHECK(std::memcmp(found[i].data(), found[0].data(), found[0].size() * sizeof found[0][0]) == 0);
        CHECK(places[i] == places[0]);
        CHECK(errors[i].find("stride is " + std::to_string(i) + " bytes") != std::string::npos);
    }
    CHECK(found[0][0].score != 0);
    CHECK(places[0].size() > 400);
    return failures;
}
