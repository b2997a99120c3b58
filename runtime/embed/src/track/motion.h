// Constant-velocity Kalman filter of a person's position in the image, in real seconds (lehrnet/runtime/track/motion.py).
#pragma once

namespace lehrnet::track {

// x and y; px, or px a second.
struct Vector {
    double x = 0, y = 0;
};

// Position and speed of one person. x and y share one covariance, since they are measured and moved alike.
struct Motion {
    Vector place, speed;
    double covariance[2][2] = {};  // of position and speed, in sizes of the person and sizes a second

    // Of a person seen for the first time; `noise` is the standard deviation of the position in sizes.
    static Motion at(const Vector& place, double noise);

    // The state `seconds` later; `agility` in sizes a second, gathered in one second, is the speed's random change. With a
    // slowing_s above 0, the time constant for a person who is not seen, the speed decays. However the time is divided into
    // steps, place and speed come out the same.
    Motion predicted(double seconds, double agility, double slowing_s) const;

    // After a measurement of the position; `noise` is its standard deviation in sizes.
    Motion updated(const Vector& measured, double noise) const;

    // Mahalanobis distance of a measured position, for a person of `size` px.
    double distance(const Vector& measured, double size, double noise) const;
};

}  // namespace lehrnet::track
