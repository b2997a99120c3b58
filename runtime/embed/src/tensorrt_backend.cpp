// TensorRT 10, 11 or RTX: an engine on a stream of its own; copies and network are one CUDA graph for each batch.
//
// EXPERIMENTAL: written against the documented interface and compiled against its declarations, never run.
#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <array>
#include <mutex>

#include "backend.h"
#include "failure.h"

namespace lehrnet {
namespace {

void check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    const lehrnet_status status = error == cudaErrorMemoryAllocation ? LEHRNET_OUT_OF_MEMORY : LEHRNET_BACKEND_FAILED;
    fail(status, what, ": ", cudaGetErrorString(error));
}

// Keeps what TensorRT complained of last, for the message of the call that failed.
class Log final : public nvinfer1::ILogger {
public:
    void log(Severity severity, const char* message) noexcept override {
        if (severity > Severity::kERROR) return;
        const std::lock_guard<std::mutex> guard(mutex_);
        last_ = message;
    }
    std::string last() {
        const std::lock_guard<std::mutex> guard(mutex_);
        return last_.empty() ? "no reason given" : last_;
    }

private:
    std::mutex mutex_;
    std::string last_;
};

// One batch size: a context of its own, because a captured graph holds on to its context's memory.
struct Batch {
    std::unique_ptr<nvinfer1::IExecutionContext> context;
    cudaGraphExec_t graph = nullptr;
};

class TensorRt final : public Backend {
public:
    TensorRt(const Bundle& bundle, const BackendOptions& options) : manifest_(bundle.manifest), device_(options.device) {
        check(cudaSetDevice(device_number(options.device, "cuda")), "the GPU cannot be used");
        open(bundle);
    }
    ~TensorRt() override {
        for (Batch& batch : batches_) {
            if (batch.graph) cudaGraphExecDestroy(batch.graph);
        }
        batches_.clear();
        if (crops_pinned_) cudaHostUnregister(crops_);
        if (heatmaps_pinned_) cudaHostUnregister(heatmaps_);
        cudaFree(device_crops_);
        cudaFree(device_heatmaps_);
        if (stream_) cudaStreamDestroy(stream_);
    }

    const char* name() const override { return "tensorrt"; }
    const char* device() const override { return device_.c_str(); }

    // On failure the destructor frees what was had.
    void bind(float* crops, float* heatmaps, int max_batch) override {
        crops_ = crops;
        heatmaps_ = heatmaps;
        const auto batch = static_cast<std::size_t>(max_batch);
        batches_.resize(batch + 1);
        const std::size_t crops_bytes = sizeof(float) * batch * spec().crop_size();
        const std::size_t heatmaps_bytes = sizeof(float) * batch * spec().heatmaps_size();
        check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "no stream");
        check(cudaMalloc(&device_crops_, crops_bytes), "no room for crops on the GPU");
        check(cudaMalloc(&device_heatmaps_, heatmaps_bytes), "no room for heatmaps on the GPU");
        check(cudaHostRegister(crops_, crops_bytes, cudaHostRegisterDefault), "crops cannot be pinned");
        crops_pinned_ = true;
        check(cudaHostRegister(heatmaps_, heatmaps_bytes, cudaHostRegisterDefault), "heatmaps cannot be pinned");
        heatmaps_pinned_ = true;
    }

    void run(int count) override {
        Batch& batch = batches_[count];
        if (!batch.graph) capture(batch, count);
        check(cudaGraphLaunch(batch.graph, stream_), "the CUDA graph cannot be launched");
        check(cudaStreamSynchronize(stream_), "TensorRT could not run the network");
    }

private:
    const Spec& spec() const { return manifest_.spec; }

    void open(const Bundle& bundle) {
        runtime_.reset(nvinfer1::createInferRuntime(log_));
        if (!runtime_) fail(LEHRNET_BACKEND_MISSING, "TensorRT cannot start: ", log_.last());
        engine_.reset(runtime_->deserializeCudaEngine(bundle.model.data(), bundle.model.size()));
        if (!engine_) {
            fail(LEHRNET_BACKEND_FAILED, manifest_.file, " is not an engine for this machine: ", log_.last(),
                 "; build it again here");
        }
        check_shape(manifest_.input_name, {-1, 3, spec().input_height, spec().input_width});
        check_shape(manifest_.output_name, {-1, static_cast<std::int64_t>(spec().joints.size()), spec().heatmap_height(),
                                            spec().heatmap_width()});
    }

    // The engine's own words about its input or output must be the manifest's; of the batch, profiles speak.
    void check_shape(const std::string& name, const std::array<std::int64_t, 4>& wanted) const {
        const nvinfer1::Dims found = engine_->getTensorShape(name.c_str());
        bool same = found.nbDims == 4 && engine_->getTensorDataType(name.c_str()) == nvinfer1::DataType::kFLOAT;
        for (int i = 1; same && i < 4; ++i) same = found.d[i] == wanted[static_cast<std::size_t>(i)];
        if (same) return;
        fail(LEHRNET_BAD_BUNDLE, manifest_.file, ": its ", name, " is not the manifest's: expected float (n, ", wanted[1],
             ", ", wanted[2], ", ", wanted[3], "); export the bundle again");
    }

    // The profile whose range holds so many crops.
    int profile_of(int count) const {
        const char* name = manifest_.input_name.c_str();
        for (int profile = 0; profile < engine_->getNbOptimizationProfiles(); ++profile) {
            const auto least = engine_->getProfileShape(name, profile, nvinfer1::OptProfileSelector::kMIN).d[0];
            const auto most = engine_->getProfileShape(name, profile, nvinfer1::OptProfileSelector::kMAX).d[0];
            if (least <= count && count <= most) return profile;
        }
        fail(LEHRNET_INVALID_ARGUMENT, manifest_.file, " has no profile for ", count,
             " crops: choose a max_batch within its profiles");
    }

    void capture(Batch& batch, int count) {
        const auto tried = [this](bool done, const char* what) {
            if (!done) fail(LEHRNET_BACKEND_FAILED, "TensorRT ", what, ": ", log_.last());
        };
        batch.context.reset(engine_->createExecutionContext());
        tried(batch.context != nullptr, "has no room for a context");
        tried(batch.context->setOptimizationProfileAsync(profile_of(count), stream_), "refused the profile");
        nvinfer1::Dims shape{};
        shape.nbDims = 4;
        shape.d[0] = count;
        shape.d[1] = 3;
        shape.d[2] = spec().input_height;
        shape.d[3] = spec().input_width;
        tried(batch.context->setInputShape(manifest_.input_name.c_str(), shape), "refused the shape");
        tried(batch.context->setTensorAddress(manifest_.input_name.c_str(), device_crops_), "refused the crops");
        tried(batch.context->setTensorAddress(manifest_.output_name.c_str(), device_heatmaps_), "refused the heatmaps");
        tried(batch.context->enqueueV3(stream_), "could not run");  // the first run prepares; a capture must not
        check(cudaStreamSynchronize(stream_), "TensorRT could not run the network");

        check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "no CUDA graph");
        const std::size_t people = static_cast<std::size_t>(count);
        cudaMemcpyAsync(device_crops_, crops_, sizeof(float) * people * spec().crop_size(), cudaMemcpyHostToDevice, stream_);
        const bool enqueued = batch.context->enqueueV3(stream_);
        cudaMemcpyAsync(heatmaps_, device_heatmaps_, sizeof(float) * people * spec().heatmaps_size(),
                        cudaMemcpyDeviceToHost, stream_);
        cudaGraph_t graph = nullptr;
        check(cudaStreamEndCapture(stream_, &graph), "the CUDA graph was not captured");
        tried(enqueued, "could not be captured");
        const cudaError_t made = cudaGraphInstantiate(&batch.graph, graph, 0);
        cudaGraphDestroy(graph);
        check(made, "the CUDA graph cannot be made");
    }

    const Manifest& manifest_;
    std::string device_;
    float *crops_ = nullptr, *heatmaps_ = nullptr;
    bool crops_pinned_ = false, heatmaps_pinned_ = false;
    Log log_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    cudaStream_t stream_ = nullptr;
    void *device_crops_ = nullptr, *device_heatmaps_ = nullptr;
    std::vector<Batch> batches_;  // by count, made when it first comes
};

}  // namespace

std::unique_ptr<Backend> open_tensorrt(const Bundle& bundle, const BackendOptions& options) {
    return std::make_unique<TensorRt>(bundle, options);
}

}  // namespace lehrnet
