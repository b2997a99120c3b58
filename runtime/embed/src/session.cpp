#include "session.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "decode.h"
#include "failure.h"
#include "words.h"

namespace lehrnet {
namespace {

constexpr std::size_t LARGEST_BUFFERS = SIZE_MAX / 2 < (std::size_t{1} << 31) ? SIZE_MAX / 2 : std::size_t{1} << 32;  // bytes
constexpr std::size_t MOST_ITEMS = 1 << 20;

void check_capacity(std::size_t capacity, std::size_t wanted, const char* what, const void* buffer) {
    if (capacity < wanted) {
        fail(LEHRNET_BUFFER_TOO_SMALL, "room for ", capacity, " ", what, ", but it takes ", wanted);
    }
    if (wanted > 0 && !buffer) fail(LEHRNET_INVALID_ARGUMENT, "the buffer for ", what, " is NULL");
}

// count * each; Failure where that is no size.
std::size_t product(std::size_t count, std::size_t each) {
    if (count > SIZE_MAX / 16 / each) fail(LEHRNET_INVALID_ARGUMENT, "count is ", count, ", which no memory holds");
    return count * each;
}

// Counts first, and only then what they count.
void check_items(const lehrnet_item* items, std::size_t item_count, std::size_t joints, const void* keypoints,
                 std::size_t capacity) {
    if (item_count > 0 && !items) fail(LEHRNET_INVALID_ARGUMENT, "items is NULL, but their count is ", item_count);
    if (item_count > MOST_ITEMS) {
        fail(LEHRNET_INVALID_ARGUMENT, "item_count is ", item_count, ", expected at most ", MOST_ITEMS);
    }
    std::size_t people = 0;
    for (std::size_t i = 0; i < item_count; ++i) {
        product(items[i].count, joints);
        people += items[i].count;
        product(people, joints);  // of at most SIZE_MAX / 8 people: the sum cannot wrap
    }
    check_capacity(capacity, people * joints, "keypoints", keypoints);
    for (std::size_t i = 0; i < item_count; ++i) {
        check_image(&items[i].image);
        check_boxes(items[i].boxes, items[i].count);
    }
}

#ifdef LEHRNET_TENSORRT
constexpr bool WITH_TENSORRT = true;
#else
constexpr bool WITH_TENSORRT = false;
std::unique_ptr<Backend> open_tensorrt(const Bundle&, const BackendOptions&) { return nullptr; }
#endif

#ifndef LEHRNET_ONNXRUNTIME
std::unique_ptr<Backend> open_onnxruntime(const Bundle& bundle, const BackendOptions&) {
    fail(LEHRNET_BACKEND_MISSING, clipped(bundle.manifest.file), " is an ONNX graph, and this library was built without ONNX Runtime: "
         "see LEHRNET_ONNXRUNTIME in its CMakeLists.txt, or take the bundle's native_fp32");
}
#endif
#ifdef LEHRNET_NATIVE
constexpr bool WITH_NATIVE = true;
#else
constexpr bool WITH_NATIVE = false;
std::unique_ptr<Backend> open_native(const Bundle& bundle, const BackendOptions&) {
    fail(LEHRNET_BACKEND_MISSING, clipped(bundle.manifest.file), " is a packed network, and this library was built by a compiler that "
         "its engine does not know: take an ONNX graph of the bundle");
}
#endif

std::unique_ptr<Backend> open_engine(const Bundle& bundle, const BackendOptions& backend, const lehrnet_options& options) {
    const std::string file = clipped(bundle.manifest.file);
    // Exactly 1: where an older caller's struct has padding, anything may lie.
    if (options.trust_engine != 1) {
        fail(LEHRNET_INVALID_ARGUMENT, file, " is a TensorRT engine, and an engine can run code: set options.trust_engine "
             "to 1 if you built it or trust who did, or take an ONNX graph of the bundle");
    }
    if (bundle.manifest.built_for.empty()) {
        fail(LEHRNET_BAD_BUNDLE, file, " is a TensorRT engine without a built_for: build it again");
    }
    if (!WITH_TENSORRT) {
        fail(LEHRNET_BACKEND_MISSING, file, " is a TensorRT engine, and this library was built without TensorRT: see "
             "LEHRNET_TENSORRT in its CMakeLists.txt");
    }
    return open_tensorrt(bundle, backend);
}

std::unique_ptr<Backend> open_backend(const Bundle& bundle, const lehrnet_options& options) {
    BackendOptions backend;
    backend.device = options.device;
    backend.library = options.runtime_library ? options.runtime_library : "";
    backend.threads = options.threads;
    backend.max_batch = options.max_batch;
#ifdef LEHRNET_FAKE_BACKEND
    if (backend.device == "fake") return open_fake(bundle, backend);
#endif
    const std::string& file = bundle.manifest.file;
    if (ends_with(file, ".onnx")) return open_onnxruntime(bundle, backend);
    if (ends_with(file, ".lehrnet")) {
        if (bundle.manifest.spec.stride != 4) {
            fail(LEHRNET_BAD_BUNDLE, clipped(file), " gives a cell for 4 px, but the manifest says ", bundle.manifest.spec.stride);
        }
        return open_native(bundle, backend);
    }
    if (ends_with(file, ".engine")) return open_engine(bundle, backend, options);
    fail(LEHRNET_INVALID_ARGUMENT, clipped(file), " is not for this library: expected a packed network, an ONNX graph or a "
         "TensorRT engine");
}

// On other devices, and where our own engine is not part of the library, the default is the graph.
std::string wanted(const lehrnet_options& options) {
    const std::string precision = options.precision;
    return precision == "auto" && !(WITH_NATIVE && std::string(options.device) == "cpu") ? "fp32" : precision;
}

// How many people are run at once: what the caller allows, as far as the model does.
int batch_of(const Backend& backend, const Manifest& manifest, int allowed) {
    if (backend.fixed_batch() > 0) return backend.fixed_batch();
    if (allowed < manifest.least_batch) {
        fail(LEHRNET_INVALID_ARGUMENT, "options.max_batch is ", allowed, ", but ", clipped(manifest.file),
             " takes at least ", manifest.least_batch, " crops");
    }
    return std::min(allowed, manifest.most_batch);
}

}  // namespace

int device_number(const std::string& device, const std::string& kind) {
    if (device == kind) return 0;
    const std::string digits = device.rfind(kind + ":", 0) == 0 ? device.substr(kind.size() + 1) : "";
    if (digits.empty() || digits.size() > 3 || digits.find_first_not_of("0123456789") != std::string::npos) {
        fail(LEHRNET_INVALID_ARGUMENT, "device is '", device, "', expected cpu, cuda, cuda:1, tensorrt or tensorrt:1");
    }
    return std::stoi(digits);
}

Session::Session(const std::string& folder, const lehrnet_options& options)
    : bundle_(open_bundle(folder, wanted(options))), flip_(options.flip != 0),
      crop_spec_(crop_spec(spec())), backend_(open_backend(bundle_, options)) {
    bundle_.model = {};
    mirror_.resize(spec().joints.size());
    std::iota(mirror_.begin(), mirror_.end(), 0);
    for (const auto& [left, right] : spec().flip_pairs) mirror_[left] = right, mirror_[right] = left;
    for (const std::string& joint : spec().joints) joint_names_.push_back(joint.c_str());
    for (const auto& [from, to] : spec().limbs) limbs_.insert(limbs_.end(), {from, to});
    max_batch_ = batch_of(*backend_, bundle_.manifest, options.max_batch);
    allocate();
    backend_->bind(crops_.data(), heatmaps_.data(), max_batch_);
}

// After the model was opened: its input and output have the sizes that the manifest says.
void Session::allocate() {
    const auto batch = static_cast<std::size_t>(max_batch_);
    const std::size_t person = sizeof(float) * (spec().crop_size() + (flip_ ? 2 : 1) * spec().heatmaps_size());
    if (batch > LARGEST_BUFFERS / person) {
        fail(LEHRNET_OUT_OF_MEMORY, "a batch of ", batch, " takes ", batch * person, " bytes, expected at most ",
             LARGEST_BUFFERS, ": set options.max_batch to ", LARGEST_BUFFERS / person, " or less");
    }
    crops_.resize(batch * spec().crop_size());
    heatmaps_.resize(batch * spec().heatmaps_size());
    if (flip_) unmirrored_.resize(heatmaps_.size());
    affines_.resize(batch);
    columns_.resize(spec().input_width);
}

void Session::describe(lehrnet_info& info) const {
    const Manifest& manifest = bundle_.manifest;
    info.variant = manifest.variant.c_str();
    info.precision = manifest.precision.c_str();
    info.backend = backend_->name();
    info.device = backend_->device();
    info.skeleton = spec().skeleton.c_str();
    info.decode = spec().decode_name.c_str();
    info.note = manifest.note.c_str();
    info.trained = manifest.trained;
    info.joints = static_cast<std::int32_t>(spec().joints.size());
    info.joint_names = joint_names_.data();
    info.limb_count = static_cast<std::int32_t>(limbs_.size() / 2);
    info.limbs = limbs_.data();
    info.input_height = spec().input_height;
    info.input_width = spec().input_width;
    info.heatmap_height = spec().heatmap_height();
    info.heatmap_width = spec().heatmap_width();
    info.max_batch = max_batch_;
    info.min_score = spec().min_score;
}

void Session::run_many(const lehrnet_item* items, std::size_t item_count, lehrnet_keypoint* keypoints,
                       std::size_t capacity) {
    check_items(items, item_count, spec().joints.size(), keypoints, capacity);
    std::size_t done = 0;
    int waiting = 0;
    for (std::size_t i = 0; i < item_count; ++i) {
        for (std::size_t person = 0; person < items[i].count; ++person) {
            affines_[waiting] = person_affine(items[i].boxes + 4 * person, crop_spec_);
            crop_person(items[i].image, affines_[waiting], crop_spec_, columns_,
                        crops_.data() + waiting * spec().crop_size());
            if (++waiting < max_batch_) continue;
            run_batch(done, waiting, keypoints);
            done += waiting;
            waiting = 0;
        }
    }
    if (waiting > 0) run_batch(done, waiting, keypoints);
}

// Keypoints of the people whose crops are waiting; the first of them is person `first` of the call.
void Session::run_batch(std::size_t first, int count, lehrnet_keypoint* keypoints) {
    run_backend(count);
    for (int person = 0; person < count; ++person) {
        decode_person(heatmaps_.data() + person * spec().heatmaps_size(), affines_[person], spec(), first + person,
                      keypoints + (first + person) * spec().joints.size());
    }
}

// heatmaps_ of the first `count` of crops_, which flip_ leaves mirrored.
void Session::run_backend(int count) {
    backend_->run(count);
    if (!flip_) return;
    const std::size_t size = spec().heatmaps_size();
    std::copy_n(heatmaps_.begin(), count * size, unmirrored_.begin());
    const std::ptrdiff_t width = spec().input_width;
    const auto end = crops_.begin() + static_cast<std::ptrdiff_t>(count * spec().crop_size());
    for (auto row = crops_.begin(); row != end; row += width) std::reverse(row, row + width);
    backend_->run(count);
    for (int person = 0; person < count; ++person) {
        fuse_flipped(unmirrored_.data() + person * size, heatmaps_.data() + person * size, mirror_, spec());
    }
    std::copy_n(unmirrored_.begin(), count * size, heatmaps_.begin());
}

void Session::crop(const lehrnet_image* image, const float* boxes, std::size_t count, float* crops,
                   std::size_t capacity) {
    check_capacity(capacity, product(count, spec().crop_size()), "floats of crops", crops);
    check_image(image);
    check_boxes(boxes, count);
    for (std::size_t i = 0; i < count; ++i) {
        crop_person(*image, person_affine(boxes + 4 * i, crop_spec_), crop_spec_, columns_,
                    crops + i * spec().crop_size());
    }
}

void Session::run_network(const float* crops, std::size_t count, float* heatmaps, std::size_t capacity) {
    if (count > 0 && !crops) fail(LEHRNET_INVALID_ARGUMENT, "crops is NULL, but their count is ", count);
    product(count, spec().crop_size());
    check_capacity(capacity, product(count, spec().heatmaps_size()), "floats of heatmaps", heatmaps);
    for (std::size_t done = 0; done < count;) {
        const std::size_t batch = std::min(count - done, static_cast<std::size_t>(max_batch_));
        std::copy_n(crops + done * spec().crop_size(), batch * spec().crop_size(), crops_.begin());
        run_backend(static_cast<int>(batch));
        std::copy_n(heatmaps_.begin(), batch * spec().heatmaps_size(), heatmaps + done * spec().heatmaps_size());
        done += batch;
    }
}

std::vector<lehrnet_step> Session::profile(int rounds, double& peak) {
    if (rounds < 1 || rounds > 10000) fail(LEHRNET_INVALID_ARGUMENT, "rounds is ", rounds, ", expected 1 to 10000");
    std::fill(crops_.begin(), crops_.end(), 0.0f);
    std::vector<lehrnet_step> steps = backend_->profile(rounds, peak);
    if (steps.empty()) {
        fail(LEHRNET_INVALID_ARGUMENT, "this session runs by ", backend_->name(), ", which does not tell its steps; open a "
             "packed network, such as native_fp32");
    }
    return steps;
}

void Session::decode(const float* heatmaps, const float* boxes, std::size_t count, lehrnet_keypoint* keypoints,
                     std::size_t capacity) const {
    if (count > 0 && !heatmaps) fail(LEHRNET_INVALID_ARGUMENT, "heatmaps is NULL, but their count is ", count);
    product(count, spec().heatmaps_size());
    check_capacity(capacity, product(count, spec().joints.size()), "keypoints", keypoints);
    check_boxes(boxes, count);
    for (std::size_t i = 0; i < count; ++i) {
        decode_person(heatmaps + i * spec().heatmaps_size(), person_affine(boxes + 4 * i, crop_spec_), spec(), i,
                      keypoints + i * spec().joints.size());
    }
}

}  // namespace lehrnet
