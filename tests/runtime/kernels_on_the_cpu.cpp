// The blocks of the CUDA kernels run on the CPU, thread after thread, as kernels.cu runs them at once.
#include "../../runtime/kernels/attention.h"
#include "../../runtime/kernels/blocks.h"

#include <vector>

namespace lehrnet {

struct Half {
    _Float16 value;
};
float get(const Half* from) { return static_cast<float>(from->value); }
void put(Half* to, float value) { to->value = static_cast<_Float16>(value); }

}  // namespace lehrnet

namespace {

constexpr int DECODE_THREADS = 128;
constexpr int EMA_THREADS = 256;

template <int Threads>
struct InTurn {
    template <class Phase>
    void operator()(const Phase& phase) const {
        for (int thread = 0; thread < Threads; ++thread) phase(thread);
    }
};

template <class Number>
void ema(const Number* maps, const Number* shortcut, const lehrnet::EmaWeights& weights, int people, int groups,
         int channels, int height, int width, bool channels_last, Number* out) {
    std::vector<float> memory(lehrnet::EmaBlock<EMA_THREADS>::workspace(channels, height, width));
    const int cells = height * width, all = groups * channels;
    const lehrnet::Layout layout = channels_last ? lehrnet::Layout{1, all} : lehrnet::Layout{cells, 1};
    for (int person = 0; person < people; ++person) {
        for (int group = 0; group < groups; ++group) {
            const std::size_t start = static_cast<std::size_t>(person) * all * cells +
                                      static_cast<std::size_t>(group) * channels * (channels_last ? 1 : cells);
            lehrnet::EmaBlock<EMA_THREADS> block;
            block.place_in(memory.data(), channels, height, width);
            lehrnet::run_ema(block, maps + start, weights, shortcut ? shortcut + start : nullptr, out + start, layout,
                             InTurn<EMA_THREADS>{});
        }
    }
}

}  // namespace

extern "C" {

void crop_on_the_cpu(const std::uint8_t* data, const std::uint8_t* chroma, int width, int height, int stride, int format,
                     const float* boxes, int people, const lehrnet::CropSpec* spec, float* crops, double* affines) {
    const auto pitch = static_cast<std::size_t>(stride);
    const lehrnet::Frame frame = {data, chroma, pitch, pitch, width, height, format};
    const int plane = spec->height * spec->width;
    for (int person = 0; person < people; ++person) {
        const lehrnet::Affine affine = lehrnet::person_affine(boxes + 4 * person, *spec);
        affines[4 * person] = affine.scale_x, affines[4 * person + 1] = affine.scale_y;
        affines[4 * person + 2] = affine.x, affines[4 * person + 3] = affine.y;
        for (int pixel = 0; pixel < plane; ++pixel) {
            const lehrnet::Tap rows = lehrnet::tap(affine.scale_y * (pixel / spec->width) + affine.y, height);
            const lehrnet::Tap column = lehrnet::tap(affine.scale_x * (pixel % spec->width) + affine.x, width);
            lehrnet::by_format(format, [&](auto tag) {
                using Row = typename decltype(tag)::Row;
                const auto colour = lehrnet::blended(Row(frame, rows.first), Row(frame, rows.second), column, rows);
                float* out = crops + 3 * static_cast<std::size_t>(person) * plane + pixel;
                out[0] = colour.red * spec->scale[0] + spec->shift[0];
                out[plane] = colour.green * spec->scale[1] + spec->shift[1];
                out[2 * plane] = colour.blue * spec->scale[2] + spec->shift[2];
            });
        }
    }
}

void decode_on_the_cpu(const float* heatmaps, const float* of_mirrored, const std::int32_t* mirror, const double* affines,
                       int people, int joints, const lehrnet::DecodeSpec* spec, lehrnet::Keypoint* keypoints) {
    const std::size_t size = static_cast<std::size_t>(spec->height) * spec->width;
    for (int person = 0; person < people; ++person) {
        for (int joint = 0; joint < joints; ++joint) {
            const std::size_t first = static_cast<std::size_t>(person) * joints;
            const float* flipped = of_mirrored ? of_mirrored + (first + mirror[joint]) * size : nullptr;
            const lehrnet::HeatMap map = {heatmaps + (first + joint) * size, flipped, spec->height, spec->width,
                                          spec->frame};
            const double* affine = affines + 4 * person;
            lehrnet::DecodeBlock<DECODE_THREADS> block;
            lehrnet::run_decode(block, map, *spec, {affine[0], affine[1], affine[2], affine[3]},
                                keypoints + first + joint, InTurn<DECODE_THREADS>{});
        }
    }
}

void ema_on_the_cpu(const float* maps, const float* shortcut, const lehrnet::EmaWeights* weights, int people, int groups,
                    int channels, int height, int width, int channels_last, float* out) {
    ema(maps, shortcut, *weights, people, groups, channels, height, width, channels_last != 0, out);
}

void ema_fp16_on_the_cpu(const lehrnet::Half* maps, const lehrnet::Half* shortcut, const lehrnet::EmaWeights* weights,
                         int people, int groups, int channels, int height, int width, int channels_last,
                         lehrnet::Half* out) {
    ema(maps, shortcut, *weights, people, groups, channels, height, width, channels_last != 0, out);
}

}  // extern "C"
