// Vectors of floats for the set of instructions that a file is compiled for: compiler vectors, and the few operations
// for which compilers need a word of the processor's own.
//
// Everything here is in an unnamed namespace: the linker must never take one compilation's function for another's.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX__) || defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "kernels.h"

#define LEHRNET_INLINE inline __attribute__((always_inline))

namespace lehrnet::native {
namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

using Vector = float __attribute__((vector_size(4 * LANES)));
using Bits = std::int32_t __attribute__((vector_size(4 * LANES)));

// At any address: Clang takes a vector to be aligned by its size even where its type says otherwise.
LEHRNET_INLINE Vector load(const float* from) {
    Vector value;
    std::memcpy(&value, from, sizeof value);
    return value;
}
LEHRNET_INLINE void store(float* to, Vector value) { std::memcpy(to, &value, sizeof value); }
LEHRNET_INLINE Vector every(float value) { return value - Vector{}; }

// The larger of both; the second where one is NaN.
LEHRNET_INLINE Vector larger(Vector a, Vector b) {
#if defined(__AVX512F__)
    return (Vector)_mm512_maskz_max_ps(0xFFFF, (__m512)a, (__m512)b);  // GCC 12 warns of the one without a mask
#elif defined(__AVX__)
    return (Vector)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (Vector)_mm_max_ps((__m128)a, (__m128)b);
#elif defined(__ARM_NEON)
    return (Vector)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
#else
    return a > b ? a : b;
#endif
}

// The smaller of both; the second where one is NaN.
LEHRNET_INLINE Vector smaller(Vector a, Vector b) {
#if defined(__AVX512F__)
    return (Vector)_mm512_maskz_min_ps(0xFFFF, (__m512)a, (__m512)b);
#elif defined(__AVX__)
    return (Vector)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (Vector)_mm_min_ps((__m128)a, (__m128)b);
#else
    return -larger(-a, -b);
#endif
}

// NaN stays, and is noticed at the end.
LEHRNET_INLINE Vector rectified(Vector value) { return larger(Vector{}, value); }

LEHRNET_INLINE Vector root(Vector value) {
    for (int i = 0; i < LANES; ++i) value[i] = sqrtf(value[i]);
    return value;
}

// 1 / value within 2e-7 of itself, for values from 1 on: an estimate and a step of Newton's take a quarter of a division.
LEHRNET_INLINE Vector reciprocal(Vector value) {
#if defined(__AVX512F__)
    const auto estimate = (Vector)_mm512_maskz_rcp14_ps(0xFFFF, (__m512)value);
#elif defined(__AVX2__)
    const auto estimate = (Vector)_mm256_rcp_ps((__m256)value);
#else
    return 1.0f / value;
#endif
#if defined(__AVX2__)
    return estimate * (2.0f - value * estimate);
#endif
}

// Within 2e-7 of exp (Cephes' expf), at both ends held to what a float holds.
LEHRNET_INLINE Vector exponential(Vector x) {
    x = smaller(every(88.0f), larger(every(-87.0f), x));
    // Added to 1.5 * 2^23 a number is rounded, and stands in the lowest bits.
    constexpr float rounder = 12582912.0f;
    constexpr std::int32_t rounder_bits = 0x4B400000;
    const Vector shifted = x * 1.44269504f + rounder;
    const Vector n = shifted - rounder;
    const Vector r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Vector y = every(1.9875691500e-4f);
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    const Bits power = ((Bits)shifted - rounder_bits + 127) << 23;
    return y * (Vector)power;
}

LEHRNET_INLINE Vector sigmoid(Vector x) { return reciprocal(1.0f + exponential(-x)); }

// Lanes first to first + count from where the first of them stands; the others are 0.
LEHRNET_INLINE Vector load_some(const float* from, Index first, Index count) {
#if defined(__AVX512F__)
    const auto mask = static_cast<__mmask16>(((1u << count) - 1) << first);
    return (Vector)_mm512_maskz_loadu_ps(mask, from - first);
#else
    Vector value{};
    for (Index i = 0; i < count; ++i) value[first + i] = from[i];
    return value;
#endif
}

LEHRNET_INLINE void store_some(float* to, Vector value, Index first, Index count) {
#if defined(__AVX512F__)
    const auto mask = static_cast<__mmask16>(((1u << count) - 1) << first);
    _mm512_mask_storeu_ps(to - first, mask, (__m512)value);
#else
    for (Index i = 0; i < count; ++i) to[i] = value[first + i];
#endif
}

}  // namespace
}  // namespace lehrnet::native
