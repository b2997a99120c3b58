#include "instructions.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#ifdef LEHRNET_AVX2
#include <cpuid.h>
#endif
#ifdef LEHRNET_DOTPROD
#include <sys/auxv.h>
#endif

#include "../failure.h"
#include "../words.h"

namespace lehrnet::native {

#ifdef LEHRNET_AVX2
namespace avx512vnni { extern const Kernels kernels; }
namespace avx512 { extern const Kernels kernels; }
namespace avxvnni { extern const Kernels kernels; }
namespace avx2 { extern const Kernels kernels; }
#endif
#ifdef LEHRNET_DOTPROD
namespace dotprod { extern const Kernels kernels; }
#endif
namespace plain { extern const Kernels kernels; }

namespace {

#ifdef LEHRNET_AVX2
// GCC 12 has no word for it; what saves AVX2's registers saves its, too.
bool has_avxvnni() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & 1u << 4) != 0;
}
#endif

struct Candidate {
    const Kernels* kernels;
    bool here;
};

std::vector<Candidate> candidates() {
    std::vector<Candidate> found;
#ifdef LEHRNET_AVX2
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    found.push_back({&avx512vnni::kernels, avx512 && __builtin_cpu_supports("avx512vnni")});
    found.push_back({&avx512::kernels, avx512});
    found.push_back({&avxvnni::kernels, avx2 && has_avxvnni()});
    found.push_back({&avx2::kernels, avx2});
#endif
#ifdef LEHRNET_DOTPROD
    found.push_back({&dotprod::kernels, (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0});
#endif
    found.push_back({&plain::kernels, true});
    return found;
}

}  // namespace

double measured_peak(const Kernels& kernels, int rounds) {
    constexpr Index COUNT = 12000000;
    double best = 0;
    for (int round = 0; round < rounds; ++round) {
        const auto begin = std::chrono::steady_clock::now();
        kernels.multiply_add(COUNT);
        const double taken = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        best = std::max(best, static_cast<double>(COUNT * kernels.lanes) / taken);
    }
    return best;
}

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
