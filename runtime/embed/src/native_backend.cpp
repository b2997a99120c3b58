// Packed networks on our own engine: no other library.
#include <algorithm>
#include <thread>

#include "backend.h"
#include "failure.h"
#include "native/engine.h"
#include "native/instructions.h"
#include "words.h"

namespace lehrnet {
namespace {

using native::Artefact;
using native::Engine;

class Native final : public Backend {
public:
    Native(const Bundle& bundle, const BackendOptions& options)
        : engine_(opened(bundle), bundle.manifest.spec.input_height, bundle.manifest.spec.input_width, options.max_batch,
                  threads(options), native::choose_instructions()) {}

    const char* name() const override { return "native"; }
    const char* device() const override { return "cpu"; }

    void bind(float* crops, float* heatmaps, int) override {
        crops_ = crops;
        heatmaps_ = heatmaps;
    }

    void run(int count) override {
        if (!engine_.usable()) {
            fail(LEHRNET_BACKEND_FAILED, "this session was opened before the process forked, and its threads stayed behind: "
                 "open it in the new process, or set options.threads to 1");
        }
        engine_.run(crops_, count, heatmaps_);
    }

    std::vector<lehrnet_step> profile(int rounds, double& peak) override {
        peak = native::measured_peak(engine_.kernels(), rounds);
        timings_ = engine_.time_steps(crops_, heatmaps_, rounds);
        peak = std::max(peak, native::measured_peak(engine_.kernels(), rounds));
        std::vector<lehrnet_step> steps;
        for (const Engine::Timing& each : timings_) {
            steps.push_back({each.name.c_str(), each.multiply_adds, 1e-6 * each.nanoseconds});
        }
        return steps;
    }

private:
    static Artefact opened(const Bundle& bundle) {
        const std::string file = clipped(bundle.manifest.file);
        Artefact artefact(bundle.model.data(), bundle.model.size(), file);
        const auto joints = static_cast<int>(bundle.manifest.spec.joints.size());
        if (artefact.config().joints != joints) {
            fail(LEHRNET_BAD_BUNDLE, file, " gives ", artefact.config().joints, " joints, but the manifest has ", joints,
                 "; export the bundle again");
        }
        return artefact;
    }

    static int threads(const BackendOptions& options) {
        if (options.threads > 0) return options.threads;
        return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    }

    Engine engine_;
    std::vector<Engine::Timing> timings_;
    float *crops_ = nullptr, *heatmaps_ = nullptr;
};

}  // namespace

std::unique_ptr<Backend> open_native(const Bundle& bundle, const BackendOptions& options) {
    if (options.device != "cpu") {
        fail(LEHRNET_INVALID_ARGUMENT, "device is '", clipped(options.device), "', but ", clipped(bundle.manifest.file),
             " runs on a CPU: set options.device to cpu, or take an ONNX graph of the bundle");
    }
    return std::make_unique<Native>(bundle, options);
}

}  // namespace lehrnet
