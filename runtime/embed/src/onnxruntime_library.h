// ONNX Runtime's library: found when the first session wants it, and kept from sending anything home.
#pragma once

#include <onnxruntime_c_api.h>

#include <string>

namespace lehrnet {

// By `chosen`, else $LEHRNET_ONNXRUNTIME, else the system's. Failure says what was tried.
const OrtApi* load_onnxruntime(const std::string& chosen);

}  // namespace lehrnet
