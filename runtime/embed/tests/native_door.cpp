// The engine by itself for tests and measurements in Python: any artefact, any size, any set of instructions.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>

#include "../src/native/engine.h"
#include "../src/native/instructions.h"

#define DOOR extern "C" __attribute__((visibility("default")))

namespace {

using namespace lehrnet::native;

thread_local char words[1024];

void keep(const char* text) { std::snprintf(words, sizeof words, "%s", text); }

}  // namespace

DOOR const char* native_words() { return words; }

// The names of the sets of instructions that this machine has, the best first, in native_words.
DOOR void native_instructions() {
    std::string names;
    for (const Kernels* each : usable_instructions()) names += (names.empty() ? "" : " ") + std::string(each->name);
    keep(names.c_str());
}

// NULL where it fails, and native_words says why.
DOOR void* native_open(const unsigned char* bytes, std::size_t size, int height, int width, int max_batch, int threads,
                       const char* instructions) {
    try {
        Artefact artefact(bytes, size, "the artefact");
        return new Engine(artefact, height, width, max_batch, threads, choose_instructions(instructions));
    } catch (const std::exception& error) {
        keep(error.what());
        return nullptr;
    }
}

DOOR void native_run(void* engine, const float* crops, int count, float* heatmaps) {
    static_cast<Engine*>(engine)->run(crops, count, heatmaps);
}

DOOR void native_close(void* engine) { delete static_cast<Engine*>(engine); }

// The least nanoseconds of every step; returns how many there are, at most `most`.
DOOR int native_time(void* engine, const float* crops, float* heatmaps, int rounds, int most, char (*names)[64],
                     double* multiply_adds, double* nanoseconds) {
    int count = 0;
    for (const Engine::Timing& each : static_cast<Engine*>(engine)->time_steps(crops, heatmaps, rounds)) {
        if (count == most) break;
        std::snprintf(names[count], sizeof names[count], "%s", each.name.c_str());
        multiply_adds[count] = each.multiply_adds;
        nanoseconds[count++] = each.nanoseconds;
    }
    return count;
}

// Multiply-adds a second that this processor reaches where nothing else has to be done.
DOOR double native_peak(const char* instructions, int rounds) {
    const Kernels& kernels = choose_instructions(instructions);
    constexpr lehrnet::native::Index COUNT = 12000000;
    double best = 0;
    for (int round = 0; round < rounds; ++round) {
        const auto begin = std::chrono::steady_clock::now();
        kernels.multiply_add(COUNT);
        const double taken = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        const double rate = static_cast<double>(COUNT * kernels.lanes) / taken;
        if (rate > best) best = rate;
    }
    return best;
}
