// Functions that run on the CPU, in C++, and on the GPU, in CUDA: written once, tested on the CPU.
#pragma once

#ifdef __CUDACC_RTC__  // NVRTC compiles without the standard library; the functions of <cmath> it has
namespace std {
using uint8_t = unsigned char;
using int32_t = int;
using size_t = ::size_t;
}  // namespace std
#define INT32_MAX 2147483647
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#else
#include <cmath>
#include <cstddef>
#include <cstdint>
#endif

#ifdef __CUDACC__
#define LEHRNET_BOTH __host__ __device__ inline
#else
#define LEHRNET_BOTH inline
#endif

namespace lehrnet {

template <class Number>
LEHRNET_BOTH Number least(Number a, Number b) {
    return b < a ? b : a;
}

template <class Number>
LEHRNET_BOTH Number most(Number a, Number b) {
    return a < b ? b : a;
}

template <class Number>
LEHRNET_BOTH Number clamped(Number value, Number low, Number high) {
    return least(most(value, low), high);
}

// Numbers in memory; half precision is the GPU's (kernels.cu).
LEHRNET_BOTH float get(const float* from) { return *from; }
LEHRNET_BOTH void put(float* to, float value) { *to = value; }

}  // namespace lehrnet
