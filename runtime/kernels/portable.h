// Functions that run on the CPU, in C++, and on the GPU, in CUDA: written once, tested on the CPU.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

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

}  // namespace lehrnet
