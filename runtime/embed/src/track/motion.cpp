#include "motion.h"

#include <cmath>

namespace lehrnet::track {
namespace {

constexpr double FIRST_SPEED = 1.0;  // standard deviation of the speed of a person seen once, in sizes a second

}  // namespace

Motion Motion::at(const Vector& place, double noise) {
    return {place, {0, 0}, {{noise * noise, 0}, {0, FIRST_SPEED * FIRST_SPEED}}};
}

Motion Motion::predicted(double seconds, double agility, double slowing_s) const {
    if (seconds <= 0) return *this;
    const double left = slowing_s > 0 ? std::exp(-seconds / slowing_s) : 1.0;
    const double reach = slowing_s > 0 ? slowing_s * (1 - left) : seconds;
    const auto& [before, after] = covariance;
    const double moved[2][2] = {{before[0] + reach * after[0], before[1] + reach * after[1]}, {left * after[0], left * after[1]}};
    // Integrated white noise of the acceleration (Bar-Shalom, Li and Kirubarajan, 2001, section 6.2.2)
    const double change = agility * agility, square = seconds * seconds;
    return {{place.x + reach * speed.x, place.y + reach * speed.y},
            {left * speed.x, left * speed.y},
            {{moved[0][0] + reach * moved[0][1] + change * (square * seconds / 3), left * moved[0][1] + change * (square / 2)},
             {moved[1][0] + reach * moved[1][1] + change * (square / 2), left * moved[1][1] + change * seconds}}};
}

Motion Motion::updated(const Vector& measured, double noise) const {
    const double spread = covariance[0][0] + noise * noise;
    const double gain[] = {covariance[0][0] / spread, covariance[1][0] / spread};
    const Vector off = {measured.x - place.x, measured.y - place.y};
    Motion next = *this;
    next.place = {place.x + gain[0] * off.x, place.y + gain[0] * off.y};
    next.speed = {speed.x + gain[1] * off.x, speed.y + gain[1] * off.y};
    for (int row = 0; row < 2; ++row) {
        for (int column = 0; column < 2; ++column) next.covariance[row][column] -= gain[row] * covariance[0][column];
    }
    return next;
}

double Motion::distance(const Vector& measured, double size, double noise) const {
    const double spread = size * std::sqrt(covariance[0][0] + noise * noise);
    return std::sqrt((measured.x - place.x) * (measured.x - place.x) + (measured.y - place.y) * (measured.y - place.y)) / spread;
}

}  // namespace lehrnet::track
