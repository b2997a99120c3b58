// ONNX Runtime: the CPU, or its CUDA and TensorRT providers. The C API is versioned; the library is found at run time.
#include <onnxruntime_c_api.h>

#include <array>
#include <cstdlib>
#include <mutex>

#include "backend.h"
#include "failure.h"
#include "library.h"
#include "operators.h"

namespace lehrnet {
namespace {

#if defined(_WIN32)
constexpr std::array LIBRARIES = {"onnxruntime.dll"};
#elif defined(__APPLE__)
constexpr std::array LIBRARIES = {"libonnxruntime.dylib"};
#else
constexpr std::array LIBRARIES = {"libonnxruntime.so", "libonnxruntime.so.1"};
#endif

const OrtApi* load_api(const std::string& chosen) {
    std::vector<std::string> libraries(LIBRARIES.begin(), LIBRARIES.end());
    const char* from_environment = std::getenv("LEHRNET_ONNXRUNTIME");
    if (!chosen.empty()) {
        libraries = {chosen};
    } else if (from_environment && *from_environment) {
        libraries = {from_environment};
    }
    std::string reasons;
    for (const std::string& library : libraries) {
        std::string reason;
        const auto base = reinterpret_cast<decltype(&OrtGetApiBase)>(find_symbol(library, "OrtGetApiBase", reason));
        if (!base) {
            reasons += (reasons.empty() ? "" : "; ") + reason;
            continue;
        }
        const OrtApi* api = base()->GetApi(ORT_API_VERSION);
        if (api) return api;
        fail(LEHRNET_BACKEND_MISSING, library, " is ONNX Runtime ", base()->GetVersionString(),
             ", which lacks version ", ORT_API_VERSION, " of its interface: install a newer one");
    }
    fail(LEHRNET_BACKEND_MISSING, "ONNX Runtime was not found (", reasons,
         "): install it, or name its library in $LEHRNET_ONNXRUNTIME or options.runtime_library");
}

class OnnxRuntime final : public Backend {
public:
    OnnxRuntime(const Bundle& bundle, const BackendOptions& options, float* crops, float* heatmaps)
        : api_(load_api(options.library)), spec_(bundle.manifest.spec), input_name_(bundle.manifest.input_name),
          output_name_(bundle.manifest.output_name), device_(options.device), crops_(crops), heatmaps_(heatmaps) {
        inputs_.resize(options.max_batch + 1);
        outputs_.resize(options.max_batch + 1);
        try {
            open(bundle, options);
        } catch (...) {
            release();
            throw;
        }
    }
    ~OnnxRuntime() override { release(); }

    const char* name() const override { return "onnxruntime"; }
    const char* device() const override { return device_.c_str(); }

    void run(int count) override {
        if (!inputs_[count]) {
            inputs_[count] = tensor(crops_, {count, 3, spec_.input_height, spec_.input_width});
            outputs_[count] = tensor(heatmaps_, {count, static_cast<std::int64_t>(spec_.joints.size()),
                                                 spec_.heatmap_height(), spec_.heatmap_width()});
        }
        const char *input = input_name_.c_str(), *output = output_name_.c_str();
        const OrtValue* in = inputs_[count];
        check(api_->Run(session_, nullptr, &input, &in, 1, &output, 1, &outputs_[count]), LEHRNET_BACKEND_FAILED,
              "ONNX Runtime could not run the network");
    }

private:
    void check(OrtStatus* status, lehrnet_status kind, const std::string& what) const {
        if (!status) return;
        const std::string message = api_->GetErrorMessage(status);
        api_->ReleaseStatus(status);
        fail(kind, what, ": ", message);
    }

    void open(const Bundle& bundle, const BackendOptions& options) {
        const auto tried = [this](OrtStatus* status) { check(status, LEHRNET_BACKEND_FAILED, "ONNX Runtime"); };
        tried(api_->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "lehrnet", &environment_));
        tried(api_->CreateSessionOptions(&session_options_));
        if (options.threads > 0) tried(api_->SetIntraOpNumThreads(session_options_, options.threads));
        add_provider(options.device);
        tried(add_operators(api_, session_options_));
        const std::string file = "ONNX Runtime cannot run " + bundle.manifest.file;
        check(api_->CreateSessionFromArray(environment_, bundle.model.data(), bundle.model.size(), session_options_,
                                           &session_),
              LEHRNET_BACKEND_FAILED, file);
        tried(api_->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory_));
        check_shape(true, {-1, 3, spec_.input_height, spec_.input_width});
        check_shape(false, {-1, static_cast<std::int64_t>(spec_.joints.size()), spec_.heatmap_height(),
                            spec_.heatmap_width()});
    }

    void add_provider(const std::string& device) {
        if (device == "cpu") return;
        const auto tried = [this, &device](OrtStatus* status) {
            check(status, LEHRNET_BACKEND_MISSING, "this ONNX Runtime gives no " + device);
        };
        const bool tensorrt = device.rfind("tensorrt", 0) == 0;
        const std::string number = std::to_string(device_number(device, tensorrt ? "tensorrt" : "cuda"));
        const char *key = "device_id", *value = number.c_str();
        if (tensorrt) {
            OrtTensorRTProviderOptionsV2* provider = nullptr;
            tried(api_->CreateTensorRTProviderOptions(&provider));
            OrtStatus* status = api_->UpdateTensorRTProviderOptions(provider, &key, &value, 1);
            if (!status) status = api_->SessionOptionsAppendExecutionProvider_TensorRT_V2(session_options_, provider);
            api_->ReleaseTensorRTProviderOptions(provider);
            tried(status);
        } else {
            OrtCUDAProviderOptionsV2* provider = nullptr;
            tried(api_->CreateCUDAProviderOptions(&provider));
            OrtStatus* status = api_->UpdateCUDAProviderOptions(provider, &key, &value, 1);
            if (!status) status = api_->SessionOptionsAppendExecutionProvider_CUDA_V2(session_options_, provider);
            api_->ReleaseCUDAProviderOptions(provider);
            tried(status);
        }
    }

    // The model's own words about its input or output must be the manifest's.
    void check_shape(bool input, const std::array<std::int64_t, 4>& wanted) {
        const auto tried = [this](OrtStatus* status) { check(status, LEHRNET_BACKEND_FAILED, "ONNX Runtime"); };
        std::size_t count = 0, rank = 0;
        tried(input ? api_->SessionGetInputCount(session_, &count) : api_->SessionGetOutputCount(session_, &count));
        OrtAllocator* allocator = nullptr;
        tried(api_->GetAllocatorWithDefaultOptions(&allocator));
        char* name = nullptr;
        tried(input ? api_->SessionGetInputName(session_, 0, allocator, &name)
                    : api_->SessionGetOutputName(session_, 0, allocator, &name));
        const bool named = name == (input ? input_name_ : output_name_);
        tried(api_->AllocatorFree(allocator, name));
        OrtTypeInfo* type = nullptr;
        tried(input ? api_->SessionGetInputTypeInfo(session_, 0, &type)
                    : api_->SessionGetOutputTypeInfo(session_, 0, &type));
        const OrtTensorTypeAndShapeInfo* tensor = nullptr;
        ONNXTensorElementDataType element = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        std::array<std::int64_t, 4> found{};
        OrtStatus* status = api_->CastTypeInfoToTensorInfo(type, &tensor);
        if (!status && tensor) status = api_->GetTensorElementType(tensor, &element);
        if (!status && tensor) status = api_->GetDimensionsCount(tensor, &rank);
        if (!status && rank == 4) status = api_->GetDimensions(tensor, found.data(), found.size());
        api_->ReleaseTypeInfo(type);
        tried(status);
        found[0] = -1;  // of any batch
        if (count != 1 || !named || element != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || rank != 4 || found != wanted) {
            fail(LEHRNET_BAD_BUNDLE, "the model's ", input ? "input" : "output", " is not the manifest's: expected one, ",
                 input ? input_name_ : output_name_, ", of float (n, ", wanted[1], ", ", wanted[2], ", ", wanted[3], ")");
        }
    }

    OrtValue* tensor(float* data, const std::array<std::int64_t, 4>& shape) const {
        const std::size_t bytes = sizeof(float) * shape[0] * shape[1] * shape[2] * shape[3];
        OrtValue* value = nullptr;
        check(api_->CreateTensorWithDataAsOrtValue(memory_, data, bytes, shape.data(), shape.size(),
                                                   ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &value),
              LEHRNET_BACKEND_FAILED, "ONNX Runtime");
        return value;
    }

    void release() {
        for (OrtValue* value : inputs_) api_->ReleaseValue(value);
        for (OrtValue* value : outputs_) api_->ReleaseValue(value);
        api_->ReleaseMemoryInfo(memory_);
        api_->ReleaseSession(session_);
        api_->ReleaseSessionOptions(session_options_);
        api_->ReleaseEnv(environment_);
    }

    const OrtApi* api_;
    const Spec& spec_;
    std::string input_name_, output_name_, device_;
    float *crops_, *heatmaps_;
    OrtEnv* environment_ = nullptr;
    OrtSessionOptions* session_options_ = nullptr;
    OrtSession* session_ = nullptr;
    OrtMemoryInfo* memory_ = nullptr;
    std::vector<OrtValue*> inputs_, outputs_;  // by batch, made when it first comes
};

}  // namespace

std::unique_ptr<Backend> open_onnxruntime(const Bundle& bundle, const BackendOptions& options, float* crops,
                                          float* heatmaps) {
    return std::make_unique<OnnxRuntime>(bundle, options, crops, heatmaps);
}

}  // namespace lehrnet
