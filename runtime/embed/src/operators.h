// Our operators for ONNX Runtime: domain "lehrnet", in graphs that `lehrnet export --precisions fp32_cpu` writes.
#pragma once

#include <onnxruntime_c_api.h>

namespace lehrnet {

// Make them known to a session that is about to be created.
OrtStatus* add_operators(const OrtApi* api, OrtSessionOptions* options) noexcept;

}  // namespace lehrnet
