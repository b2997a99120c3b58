// The engine by itself for tests and measurements in Python: any artefact, any size, any set of instructions.
#include <cstdio>
#include <cstring>
#include <exception>

#include "../src/native/engine.h"
#include "../src/native/instructions.h"
#include "native_operator.h"

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

// One 3x3 operator on bytes: `partial` is NULL for a dense one. `sizes`: people, height, width, channels in and out, stride.
DOOR void native_operator(const char* instructions, const int* sizes, const std::int8_t* weight, const float* factors,
                          const std::int8_t* partial, const float* partial_factors, const float* bias, const float* steps,
                          const float* input, float* results) {
    const auto [people, height, width, in, out, stride] = *reinterpret_cast<const int(*)[6]>(sizes);
    Spatial spatial;
    spatial.light = partial != nullptr, spatial.in = in, spatial.out = out;
    spatial.weight = {nullptr, weight, factors}, spatial.partial = {nullptr, partial, partial_factors};
    spatial.bias = bias, spatial.step = steps[0], spatial.partial_step = steps[1];
    run_operator(choose_instructions(instructions), spatial, stride, {people, height, width, in},
                 {people, height / stride, width / stride, out}, input, results);
}

// Multiply-adds a second that this processor reaches where nothing else has to be done.
DOOR double native_peak(const char* instructions, int rounds) {
    return measured_peak(choose_instructions(instructions), rounds);
}
