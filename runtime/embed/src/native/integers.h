// Exact sums of products of bytes for the set of instructions that a file is compiled for: four products to a lane.
//
// Weights are from -127 to 127, and so are the numbers that they multiply. VNNI multiplies what is from 0 on by what has a
// sign: numbers below 0 come to it with 128 added, which the sum's start takes away again. Without VNNI two products are
// added in 16 bits, which hold 2 * 127 * 127: signs of numbers move to their weights.
#pragma once

#include <cstring>

#include "vectors.h"

namespace lehrnet::native {
namespace {

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
constexpr int NEGATIVE_OFFSET = 128;
#else
constexpr int NEGATIVE_OFFSET = 0;
#endif

using Bytes = std::uint8_t __attribute__((vector_size(LANES)));
LEHRNET_INLINE Bits load_bits(const void* from) {
    Bits value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

LEHRNET_INLINE void store_bits(void* to, Bits value) { std::memcpy(to, &value, sizeof value); }

// Four bytes in every lane.
LEHRNET_INLINE Bits every_four(const std::uint8_t* from) {
    std::int32_t word;
    std::memcpy(&word, from, sizeof word);
    return word - Bits{};
}

// sum + the four products of each lane.
template <bool NEGATIVE>
LEHRNET_INLINE Bits add_products(Bits sum, Bits numbers, Bits weights) {
#if defined(__AVX512VNNI__)
    return (Bits)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)numbers, (__m512i)weights);
#elif defined(__AVXVNNI__)
    return (Bits)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)numbers, (__m256i)weights);
#elif defined(__AVX512BW__)
    __m512i x = (__m512i)numbers, w = (__m512i)weights;
    if (NEGATIVE) {
        w = _mm512_mask_sub_epi8(w, _mm512_movepi8_mask(x), _mm512_setzero_si512(), w);
        x = _mm512_abs_epi8(x);
    }
    return sum + (Bits)_mm512_madd_epi16(_mm512_maddubs_epi16(x, w), _mm512_set1_epi16(1));
#elif defined(__AVX2__)
    __m256i x = (__m256i)numbers, w = (__m256i)weights;
    if (NEGATIVE) {
        w = _mm256_sign_epi8(w, x);
        x = _mm256_abs_epi8(x);
    }
    return sum + (Bits)_mm256_madd_epi16(_mm256_maddubs_epi16(x, w), _mm256_set1_epi16(1));
#elif defined(__ARM_FEATURE_DOTPROD)
    return (Bits)vdotq_s32((int32x4_t)sum, (int8x16_t)numbers, (int8x16_t)weights);
#else
    // Each of a lane's bytes moved up to its top and back down with its sign.
    for (int shift = 0; shift < 32; shift += 8) sum += (numbers << (24 - shift) >> 24) * (weights << (24 - shift) >> 24);
    return sum;
#endif
}

// The lowest byte of every lane.
LEHRNET_INLINE void store_lowest(std::uint8_t* to, Bits value) {
#if defined(__AVX512F__)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_maskz_cvtepi32_epi8(0xFFFF, (__m512i)value));
#elif defined(__AVX2__)
    const __m256i lowest = _mm256_shuffle_epi8((__m256i)value, _mm256_set1_epi64x(0x0C080400));
    const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(lowest), _mm256_extracti128_si256(lowest, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), both);
#else
    const Bytes bytes = __builtin_convertvector(value, Bytes);
    std::memcpy(to, &bytes, sizeof bytes);
#endif
}

// Rounded to the nearest, halves to even, and held between `least` and 127, which NaN becomes, too.
LEHRNET_INLINE void store_steps(std::uint8_t* to, Vector value, float least, int offset) {
    // Added to 1.5 * 2^23 a number is rounded, and stands in the lowest bits.
    constexpr float rounder = 12582912.0f;
    const Vector held = larger(every(least), smaller(value, every(MOST_STEPS)));
    store_lowest(to, (Bits)(held + (rounder + static_cast<float>(offset))));
}

}  // namespace
}  // namespace lehrnet::native
