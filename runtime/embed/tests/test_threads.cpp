// Eight threads with a session each find what one thread finds; errors are each thread's own. For ThreadSanitizer.
#include <cstring>
#include <thread>

#include "check.h"

int main(int, char** arguments) {
    const std::string golden = arguments[1];
    const std::vector<std::uint8_t> bytes = read_array<std::uint8_t>(golden + "/image.u8");
    const std::vector<float> boxes = read_array<float>(golden + "/boxes.f32");
    const lehrnet_image image = {LEHRNET_BGR, 64, 48, bytes.data(), 64 * 3, nullptr, 0};
    constexpr int THREADS = 8;
    std::vector<std::vector<lehrnet_keypoint>> found(THREADS, std::vector<lehrnet_keypoint>(5 * 17));
    std::vector<std::string> errors(THREADS);
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
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (int i = 0; i < THREADS; ++i) {
        CHECK(std::memcmp(found[i].data(), found[0].data(), found[0].size() * sizeof found[0][0]) == 0);
        CHECK(errors[i].find("stride is " + std::to_string(i) + " bytes") != std::string::npos);
    }
    CHECK(found[0][0].score != 0);
    return failures;
}
