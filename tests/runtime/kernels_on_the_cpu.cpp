// The blocks of the CUDA kernels run on the CPU, thread after thread, as kernels.cu runs them at once.
#include "../../runtime/kernels/blocks.h"

#include <vector>

namespace {

constexpr int THREADS = 128;
constexpr int EMA_THREADS = 256;

template <class Phase>
void all(int threads, const Phase& phase) {
    for (int thread = 0; thread < threads; ++thread) phase(thread);
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
        affines[3 * person] = affine.scale, affines[3 * person + 1] = affine.x, affines[3 * person + 2] = affine.y;
        for (int pixel = 0; pixel < plane; ++pixel) {
            const lehrnet::Tap rows = lehrnet::tap(affine.scale * (pixel / spec->width) + affine.y, height);
            const lehrnet::Tap column = lehrnet::tap(affine.scale * (pixel % spec->width) + affine.x, width);
            lehrnet::by_format(format, [&](auto* row) {
                using Row = std::remove_pointer_t<decltype(row)>;
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
                       int people, int joints, int height, int width, int method, lehrnet::Keypoint* keypoints) {
    const std::size_t size = static_cast<std::size_t>(height) * width;
    for (int person = 0; person < people; ++person) {
        for (int joint = 0; joint < joints; ++joint) {
            const std::size_t first = static_cast<std::size_t>(person) * joints;
            const float* flipped = of_mirrored ? of_mirrored + (first + mirror[joint]) * size : nullptr;
            const lehrnet::HeatMap map = {heatmaps + (first + joint) * size, flipped, height, width};
            lehrnet::DecodeBlock<THREADS> block;
            all(THREADS, [&](int thread) { block.scan(thread, map); });
            for (int half = THREADS / 2; half > 0; half /= 2) all(THREADS, [&](int thread) { block.fold(thread, half); });
            all(THREADS, [&](int thread) { block.smooth_rows(thread, map, method); });
            all(THREADS, [&](int thread) { block.smooth_sites(thread, map, method); });
            const double* affine = affines + 3 * person;
            keypoints[first + joint] = block.finish(map, method, {affine[0], affine[1], affine[2]});
        }
    }
}

void ema_on_the_cpu(const float* maps, const lehrnet::EmaWeights* weights, int people, int groups, int channels,
                    int height, int width, float* out) {
    std::vector<float> memory(lehrnet::EmaBlock<EMA_THREADS>::workspace(channels, height, width));
    const std::size_t size = static_cast<std::size_t>(channels) * height * width;
    for (int group = 0; group < people * groups; ++group) {
        lehrnet::EmaBlock<EMA_THREADS> block;
        block.place_in(memory.data(), channels, height, width);
        all(EMA_THREADS, [&](int thread) { block.load(thread, maps + group * size); });
        all(EMA_THREADS, [&](int thread) { block.pool(thread); });
        all(EMA_THREADS, [&](int thread) { block.gate(thread, *weights); });
        for (const bool squares : {false, true}) {
            all(EMA_THREADS, [&](int thread) { block.add_up(thread, squares); });
            all(EMA_THREADS, [&](int thread) { block.settle(thread, squares, weights->eps); });
        }
        all(EMA_THREADS, [&](int thread) { block.weigh(thread, *weights); });
        all(EMA_THREADS, [&](int thread) { block.soften(thread); });
        all(EMA_THREADS, [&](int thread) { block.weigh_map(thread, *weights, out + group * size); });
    }
}

}  // extern "C"
