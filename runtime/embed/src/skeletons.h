// The bodies that lehrnet/pose/skeleton.py knows: a manifest says the same of them, or it was changed.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lehrnet {

struct Skeleton {
    std::string_view name;
    std::vector<std::string_view> joints;
    std::vector<std::pair<int, int>> flip_pairs;
};

inline const std::vector<Skeleton>& skeletons() {
    static const std::vector<Skeleton> known = {
        {"coco17",
         {"nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
          "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
          "right_ankle"},
         {{1, 2}, {3, 4}, {5, 6}, {7, 8}, {9, 10}, {11, 12}, {13, 14}, {15, 16}}},
        {"mpii16",
         {"right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax",
          "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
          "left_wrist"},
         {{3, 2}, {4, 1}, {5, 0}, {15, 10}, {14, 11}, {13, 12}}}};
    return known;
}

}  // namespace lehrnet
