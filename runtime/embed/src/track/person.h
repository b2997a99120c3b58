// One tracked person: where they were, how they move, and how sure the network was of them
// (lehrnet/runtime/track/person.py).
#pragma once

#include <lehrnet.h>

#include <cstdint>
#include <vector>

#include "matching.h"
#include "smoothing.h"

namespace lehrnet::track {

// A track. TrackState owns it, changes it, and uses its memory again for somebody else.
struct Person {
    explicit Person(std::size_t joints) : points(joints), smoother(joints) {}

    std::vector<Point> points;  // as last found and since then moved by the prediction
    Box box;                    // of the next crop, if no detection says better
    Box crop;                   // of the crop in which the pose was last found
    double size = 0;            // px: the square root of the area of the box around the joints
    Motion motion;
    double born_s = 0;
    double found_s = 0;         // when its pose was last found
    double detected_s = 0;      // when a detection last supported it
    double score = 0;           // mean score of its joints over some ten frames
    bool hidden = false;        // whether it was born where somebody who is known stands
    bool visible = true;        // whether its pose was found in the last frame
    std::int64_t identity = 0;  // 0: not reported yet
    OneEuro smoother;

    Pose pose() const { return {points.data(), points.size()}; }

    // Whether it is reported, and its pose was found in the last frame.
    bool sure() const { return visible && identity > 0; }

    // Become the person of a pose in a detected box.
    void be_born(const Pose& pose, const Box& in, double time_s, const lehrnet_tracker_options& options);

    // Move to where the person is expected `seconds` later.
    void advance(double seconds, const lehrnet_tracker_options& options);

    // Take the pose that was found, in a detected box or not.
    void take(const Pose& pose, double time_s, bool detected, const lehrnet_tracker_options& options);
};

}  // namespace lehrnet::track
