#include "overlap.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace lehrnet::track {
namespace {

constexpr double TINY = std::numeric_limits<double>::min();

double common(const Box& first, const Box& second) {
    const double width = std::min(first.x2, second.x2) - std::max(first.x1, second.x1);
    const double height = std::min(first.y2, second.y2) - std::max(first.y1, second.y1);
    return std::max(width, 0.0) * std::max(height, 0.0);
}

}  // namespace

double area(const Box& box) { return std::max(box.x2 - box.x1, 0.0) * std::max(box.y2 - box.y1, 0.0); }

double iou(const Box& first, const Box& second) {
    const double shared = common(first, second);
    return shared / std::max(area(first) + area(second) - shared, TINY);
}

double covered(const Box& box, const Box& other) { return common(box, other) / std::max(area(box), TINY); }

void by_falling(const std::vector<double>& scores, Rows& rows) {
    rows.resize(scores.size());
    std::iota(rows.begin(), rows.end(), std::size_t{0});
    std::sort(rows.begin(), rows.end(), [&](std::size_t one, std::size_t other) {
        return scores[one] != scores[other] ? scores[one] > scores[other] : one < other;
    });
}

void nms(const std::vector<Box>& boxes, const std::vector<double>& scores, double threshold, Rows& order, Rows& kept) {
    by_falling(scores, order);
    kept.clear();
    for (const std::size_t row : order) {
        const auto apart = [&](std::size_t better) { return iou(boxes[better], boxes[row]) <= threshold; };
        if (std::all_of(kept.begin(), kept.end(), apart)) kept.push_back(row);
    }
}

}  // namespace lehrnet::track
