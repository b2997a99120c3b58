// One-Euro filter of a person's joints with real time steps (Casiez, Roussel and Vogel, CHI 2012), as
// lehrnet/runtime/track/smoothing.py defines it.
#pragma once

#include <lehrnet.h>

#include <vector>

#include "matching.h"

namespace lehrnet::track {

// Smooths the joints of one person; speeds are in sizes of the person a second: near and far are alike.
class OneEuro {
public:
    // Memory for so many joints.
    explicit OneEuro(std::size_t joints) : joints_(joints), raw_(joints), speed_(joints) {}

    // Begin with these joints.
    void begin(const Pose& pose);

    // The joints `seconds` after the last ones, of a person of `size` px.
    void follow(const Pose& pose, double size, double seconds, const lehrnet_tracker_options& options);

    // Smoothed, in px.
    const std::vector<Vector>& joints() const { return joints_; }

private:
    std::vector<Vector> joints_, raw_, speed_;
};

}  // namespace lehrnet::track
