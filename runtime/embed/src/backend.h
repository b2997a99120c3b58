// What runs the network: crops to heatmaps. Each backend is one file; its library is found when it is opened.
#pragma once

#include <memory>
#include <string>

#include "bundle.h"

namespace lehrnet {

// What a backend needs of the caller's options.
struct BackendOptions {
    std::string device = "cpu", library;
    int threads = 0, max_batch = 32;
};

class Backend {
public:
    Backend() = default;
    Backend(const Backend&) = delete;
    Backend& operator=(const Backend&) = delete;
    virtual ~Backend() = default;

    virtual const char* name() const = 0;
    virtual const char* device() const = 0;
    // The heatmaps of the first `count` crops, in the buffers that it was opened with.
    virtual void run(int count) = 0;
};

// Both buffers hold max_batch, and outlive the backend. Failure says what is missing.
std::unique_ptr<Backend> open_onnxruntime(const Bundle& bundle, const BackendOptions& options, float* crops,
                                          float* heatmaps);
#ifdef LEHRNET_TENSORRT
std::unique_ptr<Backend> open_tensorrt(const Bundle& bundle, const BackendOptions& options, float* crops,
                                       float* heatmaps);
#endif
#ifdef LEHRNET_FAKE_BACKEND
// For tests of everything else: a joint's heatmap is a colour plane of the crop, averaged over each cell.
std::unique_ptr<Backend> open_fake(const Bundle& bundle, const BackendOptions& options, float* crops, float* heatmaps);
#endif

// The number behind "cuda:1"; 0 without one. Failure for anything else.
int device_number(const std::string& device, const std::string& kind);

}  // namespace lehrnet
