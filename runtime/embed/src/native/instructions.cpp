#include "instructions.h"

#include <cstdlib>

#include "../failure.h"
#include "../words.h"

namespace lehrnet::native {

#ifdef LEHRNET_AVX2
namespace avx512 { extern const Kernels kernels; }
namespace avx2 { extern const Kernels kernels; }
#endif
namespace plain { extern const Kernels kernels; }

namespace {

struct Candidate {
    const Kernels* kernels;
    bool here;
};

std::vector<Candidate> candidates() {
    return {
#ifdef LEHRNET_AVX2
        {&avx512::kernels, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")},
        {&avx2::kernels, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
#endif
        {&plain::kernels, true},
    };
}

}  // namespace

std::vector<const Kernels*> usable_instructions() {
    std::vector<const Kernels*> usable;
    for (const Candidate& each : candidates()) {
        if (each.here) usable.push_back(each.kernels);
    }
    return usable;
}

const Kernels& choose_instructions(const std::string& name) {
    std::string usable;
    for (const Kernels* each : usable_instructions()) {
        if (name == each->name) return *each;
        usable += (usable.empty() ? "" : ", ") + std::string(each->name);
    }
    for (const Candidate& each : candidates()) {
        if (name != each.kernels->name) continue;
        fail(LEHRNET_INVALID_ARGUMENT, "LEHRNET_INSTRUCTIONS is '", name, "', which this processor lacks; it runs ", usable);
    }
    fail(LEHRNET_INVALID_ARGUMENT, "LEHRNET_INSTRUCTIONS is '", clipped(name), "', expected one of ", usable);
}

const Kernels& choose_instructions() {
    const char* const name = std::getenv("LEHRNET_INSTRUCTIONS");
    return name && *name ? choose_instructions(name) : *usable_instructions().front();
}

}  // namespace lehrnet::native
