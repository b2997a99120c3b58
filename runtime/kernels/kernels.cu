// Crop, decode and EMA on the GPU: one launch each for all people. Parameters that change from frame to frame lie in
// device memory, so that a captured graph serves them all. Compiled ahead of time by nvcc (benchmarks/kernels.py), or by
// NVRTC where it is to run (runtime/cuda/nvrtc.py): it takes no header but these. Not yet run.
#include "attention.h"
#include "blocks.h"

namespace lehrnet {

struct Half {
    unsigned short bits;
};

#ifdef __CUDA_ARCH__
__device__ float get(const Half* from) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(from->bits));
    return value;
}

__device__ void put(Half* to, float value) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to->bits) : "f"(value)); }
#else  // nvcc looks at the host's side too
float get(const Half*);
void put(Half*, float);
#endif

}  // namespace lehrnet

namespace {

using lehrnet::Affine;
using lehrnet::CropSpec;
using lehrnet::Frame;
using lehrnet::Half;

constexpr int DECODE_THREADS = 128;
constexpr int EMA_THREADS = 256;

// A phase on every thread of the block at once.
struct Together {
    template <class Phase>
    LEHRNET_BOTH void operator()(const Phase& phase) const {
#ifdef __CUDA_ARCH__
        phase(static_cast<int>(threadIdx.x));
        __syncthreads();
#endif
    }
};

// One thread a pixel of a crop; blockIdx.y is the person. `people` is how many there are: the rest of a bucket is left.
template <class Number>
__device__ void crop(const Frame* frames, const std::int32_t* frame_of, const float* boxes, const std::int32_t* people,
                     CropSpec spec, Number* crops, Affine* affines) {
    const int person = blockIdx.y, pixel = blockIdx.x * blockDim.x + threadIdx.x, plane = spec.height * spec.width;
    if (person >= *people || pixel >= plane) return;
    const Frame frame = frames[frame_of[person]];
    const Affine affine = lehrnet::person_affine(boxes + 4 * person, spec);
    if (pixel == 0) affines[person] = affine;
    const lehrnet::Tap rows = lehrnet::tap(affine.scale_y * (pixel / spec.width) + affine.y, frame.height);
    const lehrnet::Tap column = lehrnet::tap(affine.scale_x * (pixel % spec.width) + affine.x, frame.width);
    lehrnet::Colour colour{};
    lehrnet::by_format(frame.format, [&](auto tag) {
        using Row = typename decltype(tag)::Row;
        colour = lehrnet::blended(Row(frame, rows.first), Row(frame, rows.second), column, rows);
    });
    Number* out = crops + static_cast<std::size_t>(person) * 3 * plane + pixel;
    lehrnet::put(out, colour.red * spec.scale[0] + spec.shift[0]);
    lehrnet::put(out + plane, colour.green * spec.scale[1] + spec.shift[1]);
    lehrnet::put(out + 2 * plane, colour.blue * spec.scale[2] + spec.shift[2]);
}

// A block's group of channels is blockIdx.x, its person blockIdx.y.
template <class Number>
__device__ void ema(const Number* maps, const Number* shortcut, const lehrnet::EmaWeights& weights, int channels,
                    int height, int width, bool channels_last, Number* out) {
    extern __shared__ float memory[];
    __shared__ lehrnet::EmaBlock<EMA_THREADS> block;
    const int cells = height * width, all = gridDim.x * channels;
    const std::size_t start = static_cast<std::size_t>(blockIdx.y) * all * cells +
                              static_cast<std::size_t>(blockIdx.x) * channels * (channels_last ? 1 : cells);
    if (threadIdx.x == 0) block.place_in(memory, channels, height, width);
    __syncthreads();
    const lehrnet::Layout layout = channels_last ? lehrnet::Layout{1, all} : lehrnet::Layout{cells, 1};
    lehrnet::run_ema(block, maps + start, weights, shortcut ? shortcut + start : nullptr, out + start, layout, Together{});
}

}  // namespace

extern "C" {

__global__ void lehrnet_crop_fp32(const Frame* frames, const std::int32_t* frame_of, const float* boxes,
                                  const std::int32_t* people, CropSpec spec, float* crops, Affine* affines) {
    crop(frames, frame_of, boxes, people, spec, crops, affines);
}

__global__ void lehrnet_crop_fp16(const Frame* frames, const std::int32_t* frame_of, const float* boxes,
                                  const std::int32_t* people, CropSpec spec, Half* crops, Affine* affines) {
    crop(frames, frame_of, boxes, people, spec, crops, affines);
}

// Grid (joints, people), DECODE_THREADS threads. `of_mirrored` and `mirror` (opposite joints) may be null.
__global__ void __launch_bounds__(DECODE_THREADS)
    lehrnet_decode(const float* heatmaps, const float* of_mirrored, const std::int32_t* mirror, const Affine* affines,
                   const std::int32_t* people, lehrnet::DecodeSpec spec, lehrnet::Keypoint* keypoints) {
    const int joint = blockIdx.x, person = blockIdx.y, joints = gridDim.x;
    if (person >= *people) return;
    const std::size_t size = static_cast<std::size_t>(spec.height) * spec.width;
    const std::size_t first = static_cast<std::size_t>(person) * joints;
    const lehrnet::HeatMap map = {heatmaps + (first + joint) * size,
                                  of_mirrored ? of_mirrored + (first + mirror[joint]) * size : nullptr, spec.height,
                                  spec.width, spec.frame};
    __shared__ lehrnet::DecodeBlock<DECODE_THREADS> block;
    lehrnet::run_decode(block, map, spec, affines[person], keypoints + first + joint, Together{});
}

// Grid (groups, people), EMA_THREADS threads, EmaBlock::workspace floats of dynamic shared memory. `shortcut` may be
// null; `eps` is the float's bits, since TensorRT gives a kernel pointers and whole numbers only: inputs, numbers, output.
#define LEHRNET_EMA(name, Number)                                                                                         \
    __global__ void __launch_bounds__(EMA_THREADS)                                                                        \
        name(const Number* maps, const Number* shortcut, const float* gate, const float* gate_bias, const float* local,   \
             const float* local_bias, const float* scale, const float* shift, const float* mean, const float* mean_bias,  \
             std::int32_t channels, std::int32_t height, std::int32_t width, std::int32_t channels_last,                  \
             std::int32_t eps, Number* out) {                                                                             \
        ema(maps, shortcut,                                                                                               \
            {gate, gate_bias, local, local_bias, scale, shift, mean, mean_bias, __int_as_float(eps)}, channels, height,   \
            width, channels_last != 0, out);                                                                              \
    }

LEHRNET_EMA(lehrnet_ema_fp32, float)
LEHRNET_EMA(lehrnet_ema_fp16, Half)

}  // extern "C"
