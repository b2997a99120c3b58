#include "smoothing.h"

#include <cmath>

namespace lehrnet::track {
namespace {

constexpr double PI = 3.14159265358979323846;

// Share of the new value in a first-order low-pass filter: the paper's alpha, 1 / (1 + tau / Te).
double share_of(double cutoff_hz, double seconds) { return 1 / (1 + 1 / (2 * PI * cutoff_hz * seconds)); }

}  // namespace

void OneEuro::begin(const Pose& pose) {
    for (std::size_t joint = 0; joint < pose.joints; ++joint) {
        raw_[joint] = joints_[joint] = {pose.points[joint].x, pose.points[joint].y};
        speed_[joint] = {};
    }
}

void OneEuro::follow(const Pose& pose, double size, double seconds, const lehrnet_tracker_options& options) {
    if (seconds <= 0) return;
    const double change = share_of(options.speed_cutoff_hz, seconds);
    for (std::size_t joint = 0; joint < pose.joints; ++joint) {
        const Vector now = {pose.points[joint].x, pose.points[joint].y};
        Vector &speed = speed_[joint], &smooth = joints_[joint];
        speed.x += change * ((now.x - raw_[joint].x) / size / seconds - speed.x);
        speed.y += change * ((now.y - raw_[joint].y) / size / seconds - speed.y);
        const double pace = std::sqrt(speed.x * speed.x + speed.y * speed.y);
        const double share = share_of(options.min_cutoff_hz + options.beta * pace, seconds);
        smooth.x += share * (now.x - smooth.x);
        smooth.y += share * (now.y - smooth.y);
        raw_[joint] = now;
    }
}

}  // namespace lehrnet::track
