#include "search.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

namespace lehrnet::track {
namespace {

constexpr double LEVELS[] = {1.0, 0.7, 0.5, 0.35};  // heights of the windows, as shares of the frame's height
constexpr double WINDOW_ASPECT = 0.5;               // width over height: a person who stands
constexpr double STEP = 0.6;                        // of a window's side to the next window
constexpr int MOST_STARTS = 64;                     // windows side by side: a panorama's are farther apart
constexpr int ROWS = 1 + 2 + 3 + 5;                 // of windows one above the other, of all LEVELS
constexpr std::size_t BEST = 6;                     // windows that are refined
constexpr int ROUNDS = 6;                           // at most
constexpr double SETTLED_IOU = 0.9;  // a box has settled when it hardly changes from one round to the next
// By how much the found box's x1, y1, x2, y2 are moved to look again, as shares of its width and height.
constexpr double NUDGES[][4] = {{0.1, 0, 0.1, 0}, {-0.1, 0, -0.1, 0}, {0, 0.1, 0, 0.1}, {0, -0.1, 0, -0.1},
                                {-0.125, -0.125, 0.125, 0.125}, {0.05, 0.05, -0.05, -0.05}};
// Least mean similarity of a person's joints to those of the moved boxes: joints found on a wall go with the box.
constexpr double STEADY_OKS = 0.85;

// Windows of `side` begin so often that they cover `length` at most STEP apart.
int starts(double length, double side) {
    return static_cast<int>(std::min(std::ceil((length - side) / (STEP * side)) + 1, double{MOST_STARTS}));
}

double start(int number, int count, double last) {
    return number + 1 == count && count > 1 ? last : count > 1 ? number * (last / (count - 1)) : 0;
}

}  // namespace

std::size_t Search::most_windows() { return 1 + std::size_t{ROWS} * MOST_STARTS; }

Search::Search(const std::vector<double>& sigmas, double min_score) : sigmas_(sigmas), min_score_(min_score) {
    boxes_.reserve(most_windows());
    next_.reserve(most_windows());
    scores_.reserve(most_windows());
    order_.reserve(most_windows());
}

// The whole frame, and windows that cover it at each of LEVELS.
void Search::look_at_windows(int width, int height) {
    boxes_.assign(1, {0, 0, double(width), double(height)});
    for (const double level : LEVELS) {
        const double tall = height * level, wide = std::min(tall * WINDOW_ASPECT, double(width));
        const int columns = starts(width, wide), rows = starts(height, tall);
        for (int row = 0; row < rows; ++row) {
            const double top = start(row, rows, height - tall);
            for (int column = 0; column < columns; ++column) {
                const double left = start(column, columns, width - wide);
                boxes_.push_back({left, top, left + wide, top + tall});
            }
        }
    }
}

void Search::find_person(Look& look, int width, int height, std::vector<Box>& found) {
    found.clear();
    look_at_windows(width, height);
    settle(look, found);
    if (!found.empty() && !is_person(look, found[0])) found.clear();
}

// Whether the joints in a box are sure, and stay where they are in boxes beside it.
bool Search::is_person(Look& look, const Box& box) {
    const double width = box.x2 - box.x1, height = box.y2 - box.y1;
    boxes_.assign(1, box);
    for (const auto& [left, top, right, bottom] : NUDGES) {
        boxes_.push_back({box.x1 + left * width, box.y1 + top * height, box.x2 + right * width, box.y2 + bottom * height});
    }
    const Point* points = look(boxes_);
    double steady = 0;
    for (std::size_t row = 1; row < boxes_.size(); ++row) steady += oks_between(pose(points, 0), pose(points, row), sigmas_);
    return mean_score(pose(points, 0)) >= min_score_ && steady / std::size(NUDGES) >= STEADY_OKS;
}

// From windows on to the box of the joints that the network is surest of; nothing if none settles.
void Search::settle(Look& look, std::vector<Box>& found) {
    double best = -std::numeric_limits<double>::infinity();
    for (int round = 0; round < ROUNDS; ++round) {
        const Point* points = look(boxes_);
        scores_.clear();
        next_.clear();
        std::size_t surest = 0;
        bool surest_is_steady = false;
        for (std::size_t row = 0; row < boxes_.size(); ++row) {
            scores_.push_back(mean_score(pose(points, row)));
            next_.push_back(box_of(pose(points, row)));
            const bool steady = iou(boxes_[row], next_[row]) >= SETTLED_IOU;
            if (row == 0 || scores_[row] > scores_[surest]) surest = row, surest_is_steady = steady;
            if (steady && scores_[row] > best) found.assign(1, next_[row]), best = scores_[row];
        }
        if (surest_is_steady) return;  // nobody who still moves is surer
        by_falling(scores_, order_);
        boxes_.clear();
        for (std::size_t place = 0; place < std::min(BEST, order_.size()); ++place) boxes_.push_back(next_[order_[place]]);
    }
}

}  // namespace lehrnet::track
