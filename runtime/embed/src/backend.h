// What runs the network: crops to heatmaps. Each backend is one file; its library is found when it is opened.
#pragma once

#include <lehrnet.h>

#include <memory>
#include <string>
#include <vector>

#include "bundle.h"

namespace lehrnet {

// What a backend needs of the caller's options.
struct BackendOptions {
    std::string device = "cpu", library;
    int threads = 0;
    int max_batch = 1;
};

class Backend {
public:
    Backend() = default;
    Backend(const Backend&) = delete;
    Backend& operator=(const Backend&) = delete;
    virtual ~Backend() = default;

    virtual const char* name() const = 0;
    virtual const char* device() const = 0;
    // The one batch that the model can run; 0 if it runs any.
    virtual int fixed_batch() const { return 0; }
    // Once, before the first run. Both buffers hold max_batch, and outlive the backend.
    virtual void bind(float* crops, float* heatmaps, int max_batch) = 0;
    // The heatmaps of the first `count` crops, from buffer to buffer.
    virtual void run(int count) = 0;
    // The steps of a run of the first crop on one thread, each by the least of its times; names live as long as this.
    // `peak` becomes the multiply-adds a second that the processor reached. Empty where the backend does not know.
    virtual std::vector<lehrnet_step> profile(int /*rounds*/, double& /*peak*/) { return {}; }
};

// A model whose input and output are those of the manifest: nothing is as large as a manifest says before a model says
// the same. Failure says what is missing.
#ifdef LEHRNET_ONNXRUNTIME
std::unique_ptr<Backend> open_onnxruntime(const Bundle& bundle, const BackendOptions& options);
#endif
#ifdef LEHRNET_NATIVE
// Our own engine (native/), which takes no other library.
std::unique_ptr<Backend> open_native(const Bundle& bundle, const BackendOptions& options);
#endif
#ifdef LEHRNET_TENSORRT
std::unique_ptr<Backend> open_tensorrt(const Bundle& bundle, const BackendOptions& options);
#endif
#ifdef LEHRNET_FAKE_BACKEND
// For tests of everything else: a joint's heatmap is a colour plane of the crop, averaged over each cell.
std::unique_ptr<Backend> open_fake(const Bundle& bundle, const BackendOptions& options);
#endif

// The number behind "cuda:1"; 0 without one. Failure for anything else.
int device_number(const std::string& device, const std::string& kind);

}  // namespace lehrnet
