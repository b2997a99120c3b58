#include "matching.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lehrnet::track {
namespace {

constexpr double SURE = 0.5;  // joints count for a box from this share of the mean score of the person's joints
constexpr double GROW = 0.1;  // a box reaches beyond the outer joints by this share of its sides
constexpr double LEAST_WEIGHT = 1e-6;
constexpr double NEVER = -std::numeric_limits<double>::infinity();

}  // namespace

double mean_score(const Pose& pose) {
    double sum = 0;
    for (const Point& point : pose) sum += point.score;
    return sum / static_cast<double>(pose.joints);
}

Box box_of(const Pose& pose) {
    double highest = NEVER;
    for (const Point& point : pose) highest = std::max(highest, point.score);
    const double sure = std::min(SURE * mean_score(pose), highest);
    Box box = {-NEVER, -NEVER, NEVER, NEVER};
    for (const Point& point : pose) {
        if (!(point.score >= sure)) continue;
        box = {std::min(box.x1, point.x), std::min(box.y1, point.y), std::max(box.x2, point.x), std::max(box.y2, point.y)};
    }
    const double aside = std::max(GROW * (box.x2 - box.x1), 1.0), above = std::max(GROW * (box.y2 - box.y1), 1.0);
    return {box.x1 - aside, box.y1 - above, box.x2 + aside, box.y2 + above};
}

double size_of(const Box& box) { return std::sqrt(std::max(area(box), 1.0)); }

Vector centre_of(const Pose& pose) {
    Vector sum;
    double weights = 0;
    for (const Point& point : pose) {
        const double weight = std::max(point.score, LEAST_WEIGHT);
        sum.x += point.x * weight;
        sum.y += point.y * weight;
        weights += weight;
    }
    return {sum.x / weights, sum.y / weights};
}

double oks_between(const Pose& first, const Pose& second, const std::vector<double>& sigmas) {
    const double span = std::max((area(box_of(first)) + area(box_of(second))) / 2, 1.0);
    double alike = 0, weights = 0;
    for (std::size_t joint = 0; joint < first.joints; ++joint) {
        const Point &one = first.points[joint], &other = second.points[joint];
        const double square = (one.x - other.x) * (one.x - other.x) + (one.y - other.y) * (one.y - other.y);
        const double variance = 4 * sigmas[joint] * sigmas[joint];
        const double weight = std::max(std::min(one.score, other.score), LEAST_WEIGHT);
        alike += weight * std::exp(-square / (2 * variance * span));
        weights += weight;
    }
    return alike / weights;
}

void Matrix::take(std::size_t row, std::size_t column) {
    for (std::size_t each = 0; each < columns_; ++each) at(row, each) = NEVER;
    for (std::size_t each = column; each < values_.size(); each += columns_) values_[each] = NEVER;
}

void match_greedily(Matrix& left, Pairs& pairs) {
    while (!left.values_.empty()) {
        const auto best = std::max_element(left.values_.begin(), left.values_.end());
        if (!std::isfinite(*best)) return;
        const auto place = static_cast<std::size_t>(best - left.values_.begin());
        pairs.emplace_back(place / left.columns_, place % left.columns_);
        left.take(pairs.back().first, pairs.back().second);
    }
}

}  // namespace lehrnet::track
