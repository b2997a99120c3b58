// ONNX Runtime: the CPU, or its CUDA and TensorRT providers. The C API is versioned; the library is found at run time.
#include <onnxruntime_c_api.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "backend.h"
#include "failure.h"
#include "onnx_graph.h"
#include "onnxruntime_library.h"
#include "words.h"

namespace lehrnet {
namespace {

constexpr std::int64_t LARGEST_BATCH = 1024;  // of a model whose batch is fixed; as in api.cpp
constexpr std::size_t RANK = 4;

// What a model says of its one input or output; -1 is any size.
struct Port {
    std::size_t count = 0, rank = 0;
    std::string name;
    ONNXTensorElementDataType element = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    std::array<std::int64_t, RANK> dims{};
};

std::string words(const Port& port) {
    if (port.count != 1) return std::to_string(port.count) + " of them";
    std::ostringstream text;
    text << "'" << clipped(port.name) << "' of ";
    text << (port.element == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT ? "float" : "another type") << " (";
    for (std::size_t i = 0; i < port.rank && i < RANK; ++i) {
        text << (i ? ", " : "") << (port.dims[i] < 0 ? "any" : std::to_string(port.dims[i]));
    }
    text << (port.rank > RANK ? ", ...)" : ")");
    return text.str();
}

class OnnxRuntime final : public Backend {
public:
    OnnxRuntime(const Bundle& bundle, const BackendOptions& options)
        : api_(load_onnxruntime(options.library)), spec_(bundle.manifest.spec), input_name_(bundle.manifest.input_name),
          output_name_(bundle.manifest.output_name), device_(options.device) {
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

    int fixed_batch() const override { return fixed_batch_; }

    void bind(float* crops, float* heatmaps, int max_batch) override {
        crops_ = crops;
        heatmaps_ = heatmaps;
        inputs_.resize(static_cast<std::size_t>(max_batch) + 1);
        outputs_.resize(static_cast<std::size_t>(max_batch) + 1);
    }

    void run(int people) override {
        const int count = fixed_batch_ ? fixed_batch_ : people;  // beyond the people, what lay in the buffer is run, too
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
        const auto says = [&message](const char* phrase) { return message.find(phrase) != std::string::npos; };
        if (says("bad_alloc") || says("Failed to allocate memory") || says("bad allocation")) kind = LEHRNET_OUT_OF_MEMORY;
        fail(kind, what, ": ", message);
    }

    void tried(OrtStatus* status) const { check(status, LEHRNET_BACKEND_FAILED, "ONNX Runtime"); }

    void open(const Bundle& bundle, const BackendOptions& options) {
        const std::string file = clipped(bundle.manifest.file);
        if (const std::string fault = wrong_graph(bundle.model.data(), bundle.model.size()); !fault.empty()) {
            fail(LEHRNET_BAD_BUNDLE, file, " is not run: ", fault);
        }
        tried(api_->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "lehrnet", &environment_));
        tried(api_->DisableTelemetryEvents(environment_));
        tried(api_->CreateSessionOptions(&session_options_));
        tried(api_->AddSessionConfigEntry(session_options_, "session.load_model_format", "ONNX"));
        if (options.threads > 0) tried(api_->SetIntraOpNumThreads(session_options_, options.threads));
        add_provider(options.device);
        check(api_->CreateSessionFromArray(environment_, bundle.model.data(), bundle.model.size(), session_options_,
                                           &session_),
              LEHRNET_BACKEND_FAILED, "ONNX Runtime cannot run " + file);
        tried(api_->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory_));
        check_ports();
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

    // The model's own words about its input and output must be the manifest's.
    void check_ports() {
        const Port in = port(true), out = port(false);
        check_port("input", in, {1, RANK, input_name_, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
                                 {-1, 3, spec_.input_height, spec_.input_width}});
        check_port("output", out, {1, RANK, output_name_, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
                                   {-1, static_cast<std::int64_t>(spec_.joints.size()), spec_.heatmap_height(),
                                    spec_.heatmap_width()}});
        const std::int64_t batch = in.dims[0], results = out.dims[0];
        if (batch == 0 || batch > LARGEST_BATCH || (results >= 0 && results != batch)) {
            fail(LEHRNET_BAD_BUNDLE, "the model's input is ", words(in), " and its output ", words(out),
                 "; expected one batch, of any size or of 1 to ", LARGEST_BATCH, ": export the bundle again");
        }
        fixed_batch_ = batch > 0 ? static_cast<int>(batch) : 0;
    }

    static void check_port(const char* kind, const Port& found, const Port& wanted) {
        const bool same = found.count == 1 && found.name == wanted.name && found.element == wanted.element &&
                          found.rank == RANK && std::equal(found.dims.begin() + 1, found.dims.end(), wanted.dims.begin() + 1);
        if (same) return;
        fail(LEHRNET_BAD_BUNDLE, "the model's ", kind, " is not the manifest's: it has ", words(found), ", expected ",
             words(wanted), "; export the bundle again");
    }

    Port port(bool input) const {
        Port found;
        tried(input ? api_->SessionGetInputCount(session_, &found.count) : api_->SessionGetOutputCount(session_, &found.count));
        if (found.count != 1) return found;
        OrtAllocator* allocator = nullptr;
        tried(api_->GetAllocatorWithDefaultOptions(&allocator));
        char* name = nullptr;
        tried(input ? api_->SessionGetInputName(session_, 0, allocator, &name)
                    : api_->SessionGetOutputName(session_, 0, allocator, &name));
        found.name = name;
        tried(api_->AllocatorFree(allocator, name));
        OrtTypeInfo* type = nullptr;
        tried(input ? api_->SessionGetInputTypeInfo(session_, 0, &type)
                    : api_->SessionGetOutputTypeInfo(session_, 0, &type));
        const OrtTensorTypeAndShapeInfo* tensor = nullptr;
        OrtStatus* status = api_->CastTypeInfoToTensorInfo(type, &tensor);
        if (!status && tensor) status = api_->GetTensorElementType(tensor, &found.element);
        if (!status && tensor) status = api_->GetDimensionsCount(tensor, &found.rank);
        if (!status && tensor && found.rank <= RANK) status = api_->GetDimensions(tensor, found.dims.data(), found.rank);
        api_->ReleaseTypeInfo(type);
        tried(status);
        return found;
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
    float *crops_ = nullptr, *heatmaps_ = nullptr;
    int fixed_batch_ = 0;
    OrtEnv* environment_ = nullptr;
    OrtSessionOptions* session_options_ = nullptr;
    OrtSession* session_ = nullptr;
    OrtMemoryInfo* memory_ = nullptr;
    std::vector<OrtValue*> inputs_, outputs_;  // by batch, made when it first comes
};

}  // namespace

std::unique_ptr<Backend> open_onnxruntime(const Bundle& bundle, const BackendOptions& options) {
    return std::make_unique<OnnxRuntime>(bundle, options);
}

}  // namespace lehrnet
