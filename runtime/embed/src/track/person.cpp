#include "person.h"

#include <algorithm>

namespace lehrnet::track {
namespace {

constexpr double SCORE_SHARE = 0.1;  // of the newest pose in a track's mean score

}  // namespace

void Person::be_born(const Pose& pose, const Box& in, double time_s, const lehrnet_tracker_options& options) {
    std::copy(pose.begin(), pose.end(), points.begin());
    box = box_of(pose);
    crop = in;
    size = size_of(box);
    motion = Motion::at(centre_of(pose), options.position_noise);
    born_s = found_s = detected_s = time_s;
    score = mean_score(pose);
    hidden = false;
    visible = true;
    identity = 0;
    smoother.begin(pose);
}

void Person::advance(double seconds, const lehrnet_tracker_options& options) {
    const Motion moved = motion.predicted(seconds, options.agility, visible ? 0 : options.slowing_s);
    const double right = moved.place.x - motion.place.x, down = moved.place.y - motion.place.y;
    for (Point& point : points) {
        point.x += right;
        point.y += down;
    }
    box = {box.x1 + right, box.y1 + down, box.x2 + right, box.y2 + down};
    motion = moved;
}

void Person::take(const Pose& pose, double time_s, bool detected, const lehrnet_tracker_options& options) {
    const double seconds = time_s - found_s;
    motion = motion.updated(centre_of(pose), options.position_noise);
    std::copy(pose.begin(), pose.end(), points.begin());
    box = box_of(pose);
    size = size_of(box);
    found_s = time_s;
    visible = true;
    if (detected) detected_s = time_s;
    score += SCORE_SHARE * (mean_score(pose) - score);
    if (options.smooth) smoother.follow(pose, size, seconds, options);
}

}  // namespace lehrnet::track
