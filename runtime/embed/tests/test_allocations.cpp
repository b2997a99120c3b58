// Nothing is allocated by a session that has run once. Not with sanitizers, which bring an allocator of their own.
#include <atomic>
#include <cstdlib>
#include <new>

#include "check.h"

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
    return failures;
}
