// What both operators share: vectors of one value a lane, the element types of tensors, and memory for one thread.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#define LEHRNET_EXPORT extern "C" __attribute__((visibility("default")))

namespace lehrnet {

using Index = std::int64_t;

#ifdef __AVX512F__
constexpr int VECTOR_BYTES = 64;
#else
constexpr int VECTOR_BYTES = 32;
#endif

template <class T>
struct VectorOf {
    typedef T type __attribute__((vector_size(VECTOR_BYTES), may_alias));
};
template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
constexpr int LANES = VECTOR_BYTES / sizeof(T);

// bfloat16: the upper half of a float's bits.
struct BFloat16 {
    std::uint16_t bits;
};

inline float widen(float value) { return value; }
inline double widen(double value) { return value; }
inline float widen(BFloat16 value) {
    const std::uint32_t bits = static_cast<std::uint32_t>(value.bits) << 16;
    float wide;
    std::memcpy(&wide, &bits, sizeof wide);
    return wide;
}

inline void narrow(float value, float& to) { to = value; }
inline void narrow(double value, double& to) { to = value; }
inline void narrow(float value, BFloat16& to) {  // to the nearest, ties to even; NaN stays NaN
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const std::uint32_t rounded = bits + 0x7FFF + ((bits >> 16) & 1);
    to.bits = static_cast<std::uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? (bits >> 16) | 0x40 : rounded >> 16);
}

typedef std::uint32_t Words __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef std::uint16_t Halves __attribute__((vector_size(VECTOR_BYTES / 2), may_alias));

inline Vector<float> widen(Halves halves) { return (Vector<float>)(__builtin_convertvector(halves, Words) << 16); }

inline Halves narrow(Vector<float> values) {
#ifdef __AVX512BF16__  // the same but for numbers below 2^-126, which become 0
    return (Halves)_mm512_cvtneps_pbh((__m512)values);
#else
    const Words bits = (Words)values, rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    return __builtin_convertvector(values == values ? rounded : bits >> 16 | 0x40, Halves);
#endif
}

// COUNT values that lie side by side, in the first lanes of a vector; what the other lanes hold is never written.
template <class T, int COUNT = LANES<T>>
inline Vector<T> read(const T* from) {
    Vector<T> values = {};
    std::memcpy(&values, from, COUNT * sizeof(T));
    return values;
}
template <class T, int COUNT = LANES<T>>
inline Vector<T> read(const BFloat16* from) {
    Halves halves = {};
    std::memcpy(&halves, from, COUNT * sizeof(BFloat16));
    return widen(halves);
}

template <int COUNT>
inline void write(Vector<float> values, float* to) {
    std::memcpy(to, &values, COUNT * sizeof(float));
}
template <int COUNT>
inline void write(Vector<double> values, double* to) {
    std::memcpy(to, &values, COUNT * sizeof(double));
}
template <int COUNT>
inline void write(Vector<float> values, BFloat16* to) {
    const Halves halves = narrow(values);
    std::memcpy(to, &halves, COUNT * sizeof(BFloat16));
}

// A strip of W channels: as many vectors as registers hold, or a part of one.
template <class T, int W>
struct Strip {
    static constexpr int EACH = W < LANES<T> ? W : LANES<T>, COUNT = W / EACH;
    Vector<T> of[COUNT];

    template <class S>
    static Strip at(const S* from) {
        Strip strip;
        for (int k = 0; k < COUNT; ++k) strip.of[k] = read<T, EACH>(from + k * EACH);
        return strip;
    }
    template <class S>
    void to(S* values) const {
        for (int k = 0; k < COUNT; ++k) write<EACH>(of[k], values + k * EACH);
    }
};

// work(first channel, width as a constant) over channels in strips.
template <class T, class Work>
inline void strips(Index channels, const Work& work) {
    constexpr int L = LANES<T>;
    Index c = 0;
    for (; c + 4 * L <= channels; c += 4 * L) work(c, std::integral_constant<int, 4 * L>{});
    for (; c + 2 * L <= channels; c += 2 * L) work(c, std::integral_constant<int, 2 * L>{});
    for (; c + L <= channels; c += L) work(c, std::integral_constant<int, L>{});
    for (; c + 8 <= channels; c += 8) work(c, std::integral_constant<int, 8>{});
    for (; c < channels; ++c) work(c, std::integral_constant<int, 1>{});
}

// Element types as Python names them, and the type in which each is computed.
enum ElementType : std::int32_t { FLOAT32 = 0, FLOAT64 = 1, BFLOAT16 = 2 };

// Within 2e-7 of exp (Cephes' expf); NaN comes out by way of r.
inline Vector<float> exp_of(Vector<float> x) {
    typedef std::int32_t Bits __attribute__((vector_size(VECTOR_BYTES), may_alias));
    const Vector<float> zero = {};
    x = x < -87.0f ? zero - 87.0f : x;
    x = x > 88.0f ? zero + 88.0f : x;
    const Vector<float> shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: rounds, and counts in the lowest bits
    const Vector<float> n = shifted - 12582912.0f;
    const Vector<float> r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Vector<float> y = r * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    const Bits power = ((Bits)shifted - 0x4B400000 + 127) << 23;
    return y * (Vector<float>)power;
}

inline Vector<double> exp_of(Vector<double> x) {
    for (int lane = 0; lane < LANES<double>; ++lane) x[lane] = std::exp(x[lane]);
    return x;
}

template <class V>
inline V sigmoid(V x) {
    return 1 / (1 + exp_of(-x));
}

template <class T>
inline Vector<T> sqrt_of(Vector<T> x) {
    for (int lane = 0; lane < LANES<T>; ++lane) x[lane] = std::sqrt(x[lane]);
    return x;
}

template <class T>
inline double sum_of(Vector<T> x) {
    double sum = 0;
    for (int lane = 0; lane < LANES<T>; ++lane) sum += x[lane];
    return sum;
}

// Zeroed memory of vectors, handed out in pieces. Without memory the process ends, as no exception may cross OpenMP.
template <class T>
class Memory {
public:
    explicit Memory(Index vectors)
        : begin_(static_cast<Vector<T>*>(std::aligned_alloc(64, (vectors * VECTOR_BYTES + 63) / 64 * 64))), next_(begin_) {
        if (!begin_) std::abort();
        std::memset(static_cast<void*>(begin_), 0, vectors * VECTOR_BYTES);
    }
    ~Memory() { std::free(begin_); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    Vector<T>* take(Index vectors) {
        Vector<T>* const taken = next_;
        next_ += vectors;
        return taken;
    }

private:
    Vector<T>*begin_, *next_;
};

}  // namespace lehrnet
