// An open bundle: crop, network and decode in buffers of its own, so that a run allocates nothing.
#pragma once

#include <lehrnet.h>

#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "bundle.h"
#include "crop.h"

namespace lehrnet {

class Session {
public:
    // options as lehrnet_open checked them.
    Session(const std::string& folder, const lehrnet_options& options);

    const Spec& spec() const { return bundle_.manifest.spec; }
    void describe(lehrnet_info& info) const;

    void run_many(const lehrnet_item* items, std::size_t item_count, lehrnet_keypoint* keypoints, std::size_t capacity);
    void crop(const lehrnet_image* image, const float* boxes, std::size_t count, float* crops, std::size_t capacity);
    void run_network(const float* crops, std::size_t count, float* heatmaps, std::size_t capacity);
    void decode(const float* heatmaps, const float* boxes, std::size_t count, lehrnet_keypoint* keypoints,
                std::size_t capacity) const;

    std::vector<lehrnet_step> profile(int rounds, double& peak);

private:
    void allocate();
    void run_batch(std::size_t first, int count, lehrnet_keypoint* keypoints);
    void run_backend(int count);

    Bundle bundle_;
    std::vector<int> mirror_;  // by joint: its opposite
    std::vector<const char*> joint_names_;
    std::vector<std::int32_t> limbs_;
    int max_batch_ = 0;
    bool flip_;
    std::vector<float> crops_, heatmaps_, unmirrored_;
    std::vector<Affine> affines_;
    CropSpec crop_spec_;
    std::vector<Tap> columns_;
    std::unique_ptr<Backend> backend_;  // last, so that it goes before its buffers
};

}  // namespace lehrnet
