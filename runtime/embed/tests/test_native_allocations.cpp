// The engine allocates nothing when it runs, not even the first time. Not with sanitizers.
#include <atomic>
#include <cstdlib>
#include <new>

#include "check.h"
#include "packed.h"

namespace {
std::atomic<long> allocations{0};
}

// Not inlined: GCC would see malloc's memory freed by delete.
__attribute__((noinline)) void* operator new(std::size_t size) {
    ++allocations;
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
__attribute__((noinline)) void operator delete(void* memory) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

int main(int, char** arguments) {
    const std::vector<float> crops(4 * 3 * 64 * 64);
    std::vector<float> heatmaps(4 * 5 * 16 * 16);
    for (const std::uint32_t version : {1u, 2u}) {
        const packed::Bytes file = packed::network(arguments[1], "light", version);
        for (const int threads : {1, 2}) {
            packed::Engine engine(packed::Artefact(file.data(), file.size(), "it"), 64, 64, 4, threads,
                                  packed::choose_instructions());
            const long before = allocations;
            for (const int count : {1, 4, 3, 2}) engine.run(crops.data(), count, heatmaps.data());
            CHECK(before > 0);
            CHECK(allocations == before);
        }
    }
    return failures;
}
