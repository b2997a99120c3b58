// How boxes overlap: areas, IoU, and the suppression of duplicates by it, as lehrnet/pose/overlap.py defines them.
#pragma once

#include <cstddef>
#include <vector>

namespace lehrnet::track {

// px of the image.
struct Box {
    double x1 = 0, y1 = 0, x2 = 0, y2 = 0;
};

using Rows = std::vector<std::size_t>;

// px^2; 0 where the corners are out of order.
double area(const Box& box);

double iou(const Box& first, const Box& second);

// Share of a box that lies in the other.
double covered(const Box& box, const Box& other);

// Rows by falling score; of equal ones the first comes first. It takes no memory beyond what `rows` has had.
void by_falling(const std::vector<double>& scores, Rows& rows);

// Rows of the boxes to keep, best score first: those whose IoU with a better one is at most `threshold`. `order` is work
// space.
void nms(const std::vector<Box>& boxes, const std::vector<double>& scores, double threshold, Rows& order, Rows& kept);

}  // namespace lehrnet::track
