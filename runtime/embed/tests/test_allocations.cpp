// Nothing is allocated by a session that has run once, nor by a tracker once it is made. Not with sanitizers, which bring an allocator of their own.
#include <atomic>
#include <cstdlib>
#include <new>

#include "check.h"
#include "scenes.h"

namespace {
std::atomic<long> allocations{0};
}

void* operator new(std::size_t size) {
    ++allocations;
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

// Two streams: people who come and go, and an empty one that is searched again and again.
void tracker_takes_no_memory(const std::string& golden) {
    lehrnet_session* session = open_fake_session(golden + "/quarter", 2);
    lehrnet_tracker_options options;
    lehrnet_tracker_options_init(&options, sizeof options);
    options.streams = 2;
    options.max_people = 3;
    options.smooth = 1;
    lehrnet_tracker* tracker = nullptr;
    CHECK(lehrnet_tracker_create(session, &options, &tracker) == LEHRNET_OK);
    const std::vector<scenes::Scene> story = scenes::read_scenes(golden);
    std::vector<std::uint8_t> pixels(3 * scenes::WIDTH * scenes::HEIGHT);
    const std::vector<std::uint8_t> black(pixels.size());
    const lehrnet_person* people = nullptr;
    std::size_t count = 0, seen = 0;
    const long before = allocations;
    for (const scenes::Scene& scene : story) {
        scenes::draw(scene, scenes::PEOPLE, pixels);
        const lehrnet_frame frames[] = {scenes::frame_of(0, scene, pixels, true), scenes::frame_of(1, scene, black, false)};
        CHECK(lehrnet_tracker_update(tracker, frames, 2, &people, &count) == LEHRNET_OK);
        seen += count;
    }
    CHECK(lehrnet_tracker_reset(tracker, 0) == LEHRNET_OK);
    CHECK(allocations == before);
    CHECK(seen > story.size());
    lehrnet_tracker_close(tracker);
    lehrnet_close(session);
}

}  // namespace

int main(int, char** arguments) {
    const std::string golden = arguments[1];
    const std::vector<std::uint8_t> bytes = read_array<std::uint8_t>(golden + "/image.u8");
    const std::vector<float> boxes = read_array<float>(golden + "/boxes.f32");
    const lehrnet_image image = {LEHRNET_BGR, 64, 48, bytes.data(), 64 * 3, nullptr, 0};
    for (const std::string method : {"quarter", "dark", "udp"}) {
        lehrnet_session* session = open_fake_session(golden + "/" + method, 2, true);
        CHECK(allocations > 0);
        std::vector<lehrnet_keypoint> found(5 * 17);
        CHECK(lehrnet_run(session, &image, boxes.data(), 5, found.data(), found.size()) == LEHRNET_OK);
        const long before = allocations;
        for (int i = 0; i < 100; ++i) lehrnet_run(session, &image, boxes.data(), 5, found.data(), found.size());
        CHECK(allocations == before);
        lehrnet_close(session);
    }
    tracker_takes_no_memory(golden);
    return failures;
}
