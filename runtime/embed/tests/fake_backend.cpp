// Heatmaps without a network: joint k's is the colour plane k % 3 of the crop, averaged over each cell's 4x4 pixels.
#include "../src/backend.h"

#include "../src/failure.h"

namespace lehrnet {
namespace {

class Fake final : public Backend {
public:
    explicit Fake(const Spec& spec) : spec_(spec) {}

    const char* name() const override { return "fake"; }
    const char* device() const override { return "fake"; }

    void bind(float* crops, float* heatmaps, int) override {
        crops_ = crops;
        heatmaps_ = heatmaps;
    }

    void run(int count) override {
        const int width = spec_.input_width, joints = static_cast<int>(spec_.joints.size());
        float* to = heatmaps_;
        for (int person = 0; person < count; ++person) {
            for (int joint = 0; joint < joints; ++joint) {
                const float* plane = crops_ + (3 * person + joint % 3) * static_cast<std::size_t>(width) * spec_.input_height;
                for (int row = 0; row < spec_.heatmap_height(); ++row) {
                    for (int column = 0; column < spec_.heatmap_width(); ++column) {
                        float sum = 0;
                        for (int i = 0; i < 16; ++i) sum += plane[(4 * row + i / 4) * width + 4 * column + i % 4];
                        *to++ = sum / 16;
                    }
                }
            }
        }
    }

private:
    const Spec& spec_;
    const float* crops_ = nullptr;
    float* heatmaps_ = nullptr;
};

}  // namespace

std::unique_ptr<Backend> open_fake(const Bundle& bundle, const BackendOptions& options) {
    if (options.library == "broken") fail(LEHRNET_BACKEND_FAILED, "asked to fail");
    return std::make_unique<Fake>(bundle.manifest.spec);
}

}  // namespace lehrnet
