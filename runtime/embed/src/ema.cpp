#include "ema.h"

namespace lehrnet {

// ema_loops.cpp, compiled for each width of vectors (CMakeLists.txt).
namespace plain {
void ema_group(const Ema& ema, const float* x, const float* shortcut, float* out, float* work);
}
#ifdef LEHRNET_AVX2
namespace avx2 {
void ema_group(const Ema& ema, const float* x, const float* shortcut, float* out, float* work);
}
#endif

std::size_t ema_workspace(const Ema& ema) {
    const std::int64_t padded = (ema.height + 2) * (ema.width + 2), lines = ema.height + ema.width;
    return static_cast<std::size_t>(ema.channels * (2 * padded + 2 * lines + 2) + padded);
}

void ema_group(const Ema& ema, const float* x, const float* shortcut, float* out, float* work) {
#ifdef LEHRNET_AVX2
    static const bool wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (wide) return avx2::ema_group(ema, x, shortcut, out, work);
#endif
    plain::ema_group(ema, x, shortcut, out, work);
}

}  // namespace lehrnet
