#include "operators.h"

#include <lehrnet.h>

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ema.h"
#include "ema_shapes.h"

namespace lehrnet {
namespace {

constexpr const char* DOMAIN_NAME = "lehrnet";

struct Kernel {
    const OrtApi* api;
    Ema ema;
};

// One call of ParallelFor: a group of one person each.
struct Job {
    const Ema* ema;
    const float *x, *shortcut;
    float* out;
    std::atomic<bool> no_memory{false};
};

// On a thread of ONNX Runtime's, where nothing may be thrown.
void run_group(void* data, std::size_t group) noexcept {
    thread_local std::vector<float> work;
    Job& job = *static_cast<Job*>(data);
    const std::size_t size = static_cast<std::size_t>(job.ema->channels * job.ema->height * job.ema->width);
    try {
        if (work.size() < ema_workspace(*job.ema)) work.resize(ema_workspace(*job.ema));
    } catch (const std::exception&) {
        job.no_memory = true;
        return;
    }
    ema_group(*job.ema, job.x + group * size, job.shortcut + group * size, job.out + group * size, work.data());
}

OrtStatus* refused(const OrtApi* api, const std::string& sentence) {
    return api->CreateStatus(ORT_INVALID_ARGUMENT, sentence.c_str());
}

// What an input is, without a look at its numbers.
OrtStatus* shape_of(const OrtApi* api, const OrtValue* value, InputShape& shape) {
    OrtTensorTypeAndShapeInfo* info = nullptr;
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    OrtStatus* status = api->GetTensorTypeAndShape(value, &info);
    if (!status) status = api->GetTensorElementType(info, &type);
    if (!status) status = api->GetDimensionsCount(info, &shape.rank);
    if (!status && shape.rank <= EMA_RANK) status = api->GetDimensions(info, shape.dims.data(), shape.rank);
    api->ReleaseTensorTypeAndShapeInfo(info);
    shape.is_float = type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    return status;
}

using Values = std::array<const OrtValue*, EMA_INPUTS>;

OrtStatus* inputs_of(const OrtApi* api, const OrtKernelContext* context, Values& values, InputShapes& shapes) {
    std::size_t count = 0;
    if (OrtStatus* status = api->KernelContext_GetInputCount(context, &count)) return status;
    if (count != EMA_INPUTS) {
        return refused(api, "lehrnet.EMA: it has " + std::to_string(count) + " inputs, expected " +
                                std::to_string(EMA_INPUTS) + ": export the graph again");
    }
    for (std::size_t i = 0; i < EMA_INPUTS; ++i) {
        if (OrtStatus* status = api->KernelContext_GetInput(context, i, &values[i])) return status;
        if (!values[i]) {
            return refused(api, "lehrnet.EMA: input " + std::to_string(i) + " is left out: export the graph again");
        }
        if (OrtStatus* status = shape_of(api, values[i], shapes[i])) return status;
    }
    return nullptr;
}

OrtStatus* data_of(const OrtApi* api, const OrtValue* value, const float** data) {
    void* found = nullptr;
    OrtStatus* status = api->GetTensorMutableData(const_cast<OrtValue*>(value), &found);
    *data = static_cast<const float*>(found);
    return status;
}

OrtStatus* compute(const Kernel& kernel, OrtKernelContext* context) {
    const OrtApi* api = kernel.api;
    Values values{};
    InputShapes shapes{};
    if (OrtStatus* status = inputs_of(api, context, values, shapes)) return status;
    if (const std::string fault = wrong_inputs(kernel.ema.groups, shapes); !fault.empty()) return refused(api, fault);
    const auto& shape = shapes[MAP].dims;
    Ema ema = kernel.ema;
    ema.channels = shape[1] / ema.groups;
    ema.height = shape[2];
    ema.width = shape[3];
    Job job;
    job.ema = &ema;
    const float** const read[EMA_INPUTS] = {&job.x,          &job.shortcut, &ema.gate,  &ema.gate_bias, &ema.local,
                                            &ema.local_bias, &ema.scale,    &ema.shift, &ema.mean,      &ema.mean_bias};
    for (std::size_t i = 0; i < EMA_INPUTS; ++i) {
        if (OrtStatus* status = data_of(api, values[i], read[i])) return status;
    }
    OrtValue* output = nullptr;
    OrtStatus* status = api->KernelContext_GetOutput(context, 0, shape.data(), shape.size(), &output);
    if (!status) status = api->GetTensorMutableData(output, reinterpret_cast<void**>(&job.out));
    if (status || shape[0] == 0) return status;
    status = api->KernelContext_ParallelFor(context, run_group, static_cast<std::size_t>(shape[0] * ema.groups), 0, &job);
    if (!status && job.no_memory) status = api->CreateStatus(ORT_FAIL, "lehrnet.EMA: out of memory; run fewer people at once");
    return status;
}

// Nothing may be thrown into ONNX Runtime, which is another library.
template <class Call>
OrtStatus* guarded(const OrtApi* api, Call&& call) noexcept {
    try {
        return call();
    } catch (const std::bad_alloc&) {
        return api->CreateStatus(ORT_FAIL, "lehrnet.EMA: out of memory");
    } catch (const std::exception& error) {
        return api->CreateStatus(ORT_FAIL, error.what());
    }
}

OrtStatus* attributes_of(const OrtApi* api, const OrtKernelInfo* info, Ema& ema) {
    OrtStatus* status = api->KernelInfoGetAttribute_int64(info, "groups", &ema.groups);
    if (!status) status = api->KernelInfoGetAttribute_float(info, "epsilon", &ema.eps);
    if (status) {
        const std::string reason = api->GetErrorMessage(status);
        api->ReleaseStatus(status);
        return refused(api, "lehrnet.EMA: expected an integer 'groups' and a float 'epsilon': export the graph again (" +
                                reason + ")");
    }
    const std::string fault = wrong_attributes(ema.groups, ema.eps);
    return fault.empty() ? nullptr : refused(api, fault);
}

OrtStatus* create(const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
    *kernel = nullptr;
    auto made = std::make_unique<Kernel>(Kernel{api, {}});
    if (OrtStatus* status = attributes_of(api, info, made->ema)) return status;
    *kernel = made.release();
    return nullptr;
}

const OrtCustomOp& ema_operator() {
    static const OrtCustomOp op = [] {
        OrtCustomOp made{};
        made.version = ORT_API_VERSION;
        made.GetName = [](const OrtCustomOp*) { return "EMA"; };
        made.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return "CPUExecutionProvider"; };
        made.GetInputTypeCount = [](const OrtCustomOp*) { return std::size_t{EMA_INPUTS}; };
        made.GetOutputTypeCount = [](const OrtCustomOp*) { return std::size_t{1}; };
        made.GetInputType = [](const OrtCustomOp*, std::size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; };
        made.GetOutputType = [](const OrtCustomOp*, std::size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; };
        made.GetInputCharacteristic = [](const OrtCustomOp*, std::size_t) { return INPUT_OUTPUT_REQUIRED; };
        made.GetOutputCharacteristic = [](const OrtCustomOp*, std::size_t) { return INPUT_OUTPUT_REQUIRED; };
        made.GetInputMemoryType = [](const OrtCustomOp*, std::size_t) { return OrtMemTypeDefault; };
        made.GetVariadicInputMinArity = [](const OrtCustomOp*) { return 1; };
        made.GetVariadicInputHomogeneity = [](const OrtCustomOp*) { return 1; };
        made.GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 1; };
        made.GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 1; };
        made.GetStartVersion = [](const OrtCustomOp*) { return 1; };
        made.GetEndVersion = [](const OrtCustomOp*) { return 1; };
        made.CreateKernelV2 = [](const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
            return guarded(api, [&] { return create(api, info, kernel); });
        };
        made.KernelComputeV2 = [](void* kernel, OrtKernelContext* context) {
            const Kernel& made = *static_cast<const Kernel*>(kernel);
            return guarded(made.api, [&] { return compute(made, context); });
        };
        made.KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
        return made;
    }();
    return op;
}

}  // namespace

namespace {

OrtStatus* add(const OrtApi* api, OrtSessionOptions* options) {
    static std::mutex mutex;
    static std::map<const OrtApi*, OrtCustomOpDomain*> domains;  // one for each ONNX Runtime in the process, for its life
    const std::lock_guard<std::mutex> guard(mutex);
    OrtCustomOpDomain*& domain = domains[api];
    if (!domain) {
        OrtCustomOpDomain* made = nullptr;
        if (OrtStatus* status = api->CreateCustomOpDomain(DOMAIN_NAME, &made)) return status;
        if (OrtStatus* status = api->CustomOpDomain_Add(made, &ema_operator())) return status;
        domain = made;
    }
    return api->AddCustomOpDomain(options, domain);
}

}  // namespace

OrtStatus* add_operators(const OrtApi* api, OrtSessionOptions* options) noexcept {
    return guarded(api, [&] { return add(api, options); });
}

}  // namespace lehrnet

// ONNX Runtime looks this name up in a library of operators, such as Python's register_custom_ops_library is given.
extern "C" LEHRNET_API OrtStatus* ORT_API_CALL RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
    const OrtApi* api = base->GetApi(ORT_API_VERSION);
    if (api) return lehrnet::add_operators(api, options);
    const OrtApi* oldest = base->GetApi(1);
    return oldest ? oldest->CreateStatus(ORT_FAIL, "lehrnet.EMA: this ONNX Runtime is too old: install a newer one") : nullptr;
}
