#include "operators.h"

#include <lehrnet.h>

#include <array>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "ema.h"

namespace lehrnet {
namespace {

constexpr const char* DOMAIN_NAME = "lehrnet";
// x and the shortcut (N, C, H, W), then the weights in the order of `Ema`.
constexpr std::size_t INPUTS = 10, MAP = 0, SHORTCUT = 1, FIRST_WEIGHT = 2;

struct Kernel {
    const OrtApi* api;
    Ema ema;
};

// One call of ParallelFor: a group of one person each.
struct Job {
    const Ema* ema;
    const float *x, *shortcut;
    float* out;
};

void run_group(void* data, std::size_t group) {
    thread_local std::vector<float> work;
    const Job& job = *static_cast<const Job*>(data);
    const std::size_t size = static_cast<std::size_t>(job.ema->channels * job.ema->height * job.ema->width);
    if (work.size() < ema_workspace(*job.ema)) work.resize(ema_workspace(*job.ema));
    ema_group(*job.ema, job.x + group * size, job.shortcut + group * size, job.out + group * size, work.data());
}

OrtStatus* input(const OrtApi* api, OrtKernelContext* context, std::size_t index, const float** data) {
    const OrtValue* value = nullptr;
    OrtStatus* status = api->KernelContext_GetInput(context, index, &value);
    return status ? status : api->GetTensorMutableData(const_cast<OrtValue*>(value), const_cast<void**>(reinterpret_cast<const void**>(data)));
}

OrtStatus* shape_of(const OrtApi* api, OrtKernelContext* context, std::array<std::int64_t, 4>& shape) {
    const OrtValue* value = nullptr;
    OrtTensorTypeAndShapeInfo* info = nullptr;
    std::size_t rank = 0;
    OrtStatus* status = api->KernelContext_GetInput(context, MAP, &value);
    if (!status) status = api->GetTensorTypeAndShape(value, &info);
    if (!status) status = api->GetDimensionsCount(info, &rank);
    if (!status && rank != 4) status = api->CreateStatus(ORT_INVALID_ARGUMENT, "lehrnet.EMA: expected maps (N, C, H, W)");
    if (!status) status = api->GetDimensions(info, shape.data(), shape.size());
    api->ReleaseTensorTypeAndShapeInfo(info);
    return status;
}

OrtStatus* compute(const Kernel& kernel, OrtKernelContext* context) {
    const OrtApi* api = kernel.api;
    std::array<std::int64_t, 4> shape{};
    if (OrtStatus* status = shape_of(api, context, shape)) return status;
    Ema ema = kernel.ema;
    if (ema.groups < 1 || shape[1] % ema.groups != 0) {
        return api->CreateStatus(ORT_INVALID_ARGUMENT, "lehrnet.EMA: channels do not divide into the groups");
    }
    ema.channels = shape[1] / ema.groups;
    ema.height = shape[2];
    ema.width = shape[3];
    Job job = {&ema, nullptr, nullptr, nullptr};
    const float** const weights[] = {&ema.gate,  &ema.gate_bias, &ema.local, &ema.local_bias,
                                     &ema.scale, &ema.shift,     &ema.mean,  &ema.mean_bias};
    OrtStatus* status = input(api, context, MAP, &job.x);
    if (!status) status = input(api, context, SHORTCUT, &job.shortcut);
    for (std::size_t i = 0; !status && i < std::size(weights); ++i) {
        status = input(api, context, FIRST_WEIGHT + i, weights[i]);
    }
    OrtValue* output = nullptr;
    if (!status) status = api->KernelContext_GetOutput(context, 0, shape.data(), shape.size(), &output);
    if (!status) status = api->GetTensorMutableData(output, reinterpret_cast<void**>(&job.out));
    if (status) return status;
    return api->KernelContext_ParallelFor(context, run_group, static_cast<std::size_t>(shape[0] * ema.groups), 0, &job);
}

OrtStatus* create(const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
    auto* made = new (std::nothrow) Kernel{api, {}};
    if (!made) return api->CreateStatus(ORT_FAIL, "lehrnet.EMA: out of memory");
    OrtStatus* status = api->KernelInfoGetAttribute_int64(info, "groups", &made->ema.groups);
    if (!status) status = api->KernelInfoGetAttribute_float(info, "epsilon", &made->ema.eps);
    if (status) delete made;
    *kernel = status ? nullptr : made;
    return status;
}

const OrtCustomOp& ema_operator() {
    static const OrtCustomOp op = [] {
        OrtCustomOp made{};
        made.version = ORT_API_VERSION;
        made.GetName = [](const OrtCustomOp*) { return "EMA"; };
        made.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return "CPUExecutionProvider"; };
        made.GetInputTypeCount = [](const OrtCustomOp*) { return INPUTS; };
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
            return create(api, info, kernel);
        };
        made.KernelComputeV2 = [](void* kernel, OrtKernelContext* context) {
            return compute(*static_cast<const Kernel*>(kernel), context);
        };
        made.KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
        return made;
    }();
    return op;
}

}  // namespace

OrtStatus* add_operators(const OrtApi* api, OrtSessionOptions* options) {
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

}  // namespace lehrnet

// ONNX Runtime looks this name up in a library of operators, such as Python's register_custom_ops_library is given.
extern "C" LEHRNET_API OrtStatus* ORT_API_CALL RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
    const OrtApi* api = base->GetApi(ORT_API_VERSION);
    return api ? lehrnet::add_operators(api, options) : nullptr;
}
