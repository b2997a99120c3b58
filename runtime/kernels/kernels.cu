// Crop, decode and EMA on the GPU: one launch each for all people. Parameters that change from frame to frame lie in
// device memory, so that a captured graph serves them all. Compiled by nvcc (benchmarks/kernels.py); not yet run.
#include <cuda_fp16.h>

#include "blocks.h"

using lehrnet::Affine;
using lehrnet::CropSpec;
using lehrnet::Frame;

namespace {

constexpr int THREADS = 128;
constexpr int EMA_THREADS = 256;

__device__ void put(float* to, float value) { *to = value; }
__device__ void put(__half* to, float value) { *to = __float2half(value); }

// One thread a pixel of a crop; blockIdx.y is the person. `people` is how many there are: the rest of a bucket is left.
template <class Number>
__device__ void crop(const Frame* frames, const std::int32_t* frame_of, const float* boxes, const std::int32_t* people,
                     CropSpec spec, Number* crops, Affine* affines) {
    const int person = blockIdx.y, pixel = blockIdx.x * blockDim.x + threadIdx.x, plane = spec.height * spec.width;
    if (person >= *people || pixel >= plane) return;
    const Frame frame = frames[frame_of[person]];
    const Affine affine = lehrnet::person_affine(boxes + 4 * person, spec);
    if (pixel == 0) affines[person] = affine;
    const lehrnet::Tap rows = lehrnet::tap(affine.scale * (pixel / spec.width) + affine.y, frame.height);
    const lehrnet::Tap column = lehrnet::tap(affine.scale * (pixel % spec.width) + affine.x, frame.width);
    lehrnet::Colour colour{};
    lehrnet::by_format(frame.format, [&](auto* row) {
        using Row = std::remove_pointer_t<decltype(row)>;
        colour = lehrnet::blended(Row(frame, rows.first), Row(frame, rows.second), column, rows);
    });
    Number* out = crops + static_cast<std::size_t>(person) * 3 * plane + pixel;
    put(out, colour.red * spec.scale[0] + spec.shift[0]);
    put(out + plane, colour.green * spec.scale[1] + spec.shift[1]);
    put(out + 2 * plane, colour.blue * spec.scale[2] + spec.shift[2]);
}

}  // namespace

extern "C" {

__global__ void lehrnet_crop_fp32(const Frame* frames, const std::int32_t* frame_of, const float* boxes,
                                  const std::int32_t* people, CropSpec spec, float* crops, Affine* affines) {
    crop(frames, frame_of, boxes, people, spec, crops, affines);
}

__global__ void lehrnet_crop_fp16(const Frame* frames, const std::int32_t* frame_of, const float* boxes,
                                  const std::int32_t* people, CropSpec spec, __half* crops, Affine* affines) {
    crop(frames, frame_of, boxes, people, spec, crops, affines);
}

// Grid (joints, people), THREADS threads. `of_mirrored` and `mirror` (opposite joints) may be null.
__global__ void __launch_bounds__(THREADS)
    lehrnet_decode(const float* heatmaps, const float* of_mirrored, const std::int32_t* mirror, const Affine* affines,
                   const std::int32_t* people, std::int32_t height, std::int32_t width, std::int32_t method,
                   lehrnet::Keypoint* keypoints) {
    const int joint = blockIdx.x, person = blockIdx.y, joints = gridDim.x, thread = threadIdx.x;
    if (person >= *people) return;
    const std::size_t size = static_cast<std::size_t>(height) * width, first = static_cast<std::size_t>(person) * joints;
    const lehrnet::HeatMap map = {heatmaps + (first + joint) * size,
                                  of_mirrored ? of_mirrored + (first + mirror[joint]) * size : nullptr, height, width};
    __shared__ lehrnet::DecodeBlock<THREADS> block;
    block.scan(thread, map);
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        block.fold(thread, half);
    }
    __syncthreads();
    block.smooth_rows(thread, map, method);
    __syncthreads();
    block.smooth_sites(thread, map, method);
    __syncthreads();
    if (thread == 0) keypoints[first + joint] = block.finish(map, method, affines[person]);
}

// Grid (groups, people), EMA_THREADS threads, EmaBlock::workspace floats of dynamic shared memory.
__global__ void __launch_bounds__(EMA_THREADS)
    lehrnet_ema(const float* maps, lehrnet::EmaWeights weights, std::int32_t channels, std::int32_t height,
                std::int32_t width, float* out) {
    extern __shared__ float memory[];
    __shared__ lehrnet::EmaBlock<EMA_THREADS> block;
    const int thread = threadIdx.x;
    const std::size_t start = (static_cast<std::size_t>(blockIdx.y) * gridDim.x + blockIdx.x) * channels * height * width;
    if (thread == 0) block.place_in(memory, channels, height, width);
    __syncthreads();
    block.load(thread, maps + start);
    __syncthreads();
    block.pool(thread);
    __syncthreads();
    block.gate(thread, weights);
    __syncthreads();
    block.add_up(thread, false);
    __syncthreads();
    block.settle(thread, false, weights.eps);
    __syncthreads();
    block.add_up(thread, true);
    __syncthreads();
    block.settle(thread, true, weights.eps);
    __syncthreads();
    block.weigh(thread, weights);
    __syncthreads();
    block.soften(thread);
    __syncthreads();
    block.weigh_map(thread, weights, out + start);
}

}  // extern "C"
