// Boxes round keypoints, similarity of people by OKS, and greedy matching by similarity, as
// lehrnet/runtime/track/matching.py defines them.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "motion.h"
#include "overlap.h"

namespace lehrnet::track {

// A joint: px of the image, and the network's score.
struct Point {
    double x = 0, y = 0, score = 0;
};

// The joints of one person, which belong to somebody else.
struct Pose {
    const Point* points;
    std::size_t joints;

    const Point* begin() const { return points; }
    const Point* end() const { return points + joints; }
};

double mean_score(const Pose& pose);

// The box around the surer joints, grown on all sides: the crown, hands and feet lie beyond the outer joints.
Box box_of(const Pose& pose);

// px of a person in a box: the square root of the area.
double size_of(const Box& box);

// Mean of the joints, by their scores.
Vector centre_of(const Pose& pose);

// Object keypoint similarity. A joint weighs as much as its lower score; the area is the mean of the two boxes. `sigmas` are
// the joints' tolerances.
double oks_between(const Pose& first, const Pose& second, const std::vector<double>& sigmas);

using Pairs = std::vector<std::pair<std::size_t, std::size_t>>;

// Similarities of rows to columns, in memory that stays.
class Matrix {
public:
    void reserve(std::size_t size) { values_.reserve(size); }
    void resize(std::size_t rows, std::size_t columns) {
        values_.resize(rows * columns);
        columns_ = columns;
    }
    double& at(std::size_t row, std::size_t column) { return values_[row * columns_ + column]; }
    double at(std::size_t row, std::size_t column) const { return values_[row * columns_ + column]; }
    // -infinity in what is left of a row and of a column.
    void take(std::size_t row, std::size_t column);

private:
    friend void match_greedily(Matrix& left, Pairs& pairs);
    std::vector<double> values_;
    std::size_t columns_ = 0;
};

// Add the pairs (row, column) by falling similarity, each row and column once; -infinity is never matched. `left` is used up.
void match_greedily(Matrix& left, Pairs& pairs);

}  // namespace lehrnet::track
