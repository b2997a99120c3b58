#include "search.h"

#include <algorithm>
#include <cmath>
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

// Windows of `side` begin so often that they cover `length` at most STEP apart.
int starts(double length, double side) {
    return static_cast<int>(std::min(std::ceil((length - side) / (STEP * side)) + 1, double{MOST_STARTS}));
}

double start(int number, int count, double last) {
    return number + 1 == count && count > 1 ? last : count > 1 ? number * (last / (count - 1)) : 0;
}

}  // namespace

std::size_t Search::most_windows() { return 1 + std::size_t{ROWS} * MOST_STARTS; }

Search::Search(std::size_t joints) : joints_(joints) {
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
    double best = -std::numeric_limits<double>::infinity();
    look_at_windows(width, height);
    for (int round = 0; round < ROUNDS; ++round) {
        const Point* points = look(boxes_);
        scores_.clear();
        next_.clear();
        std::size_t surest = 0;
        bool surest_is_steady = false;
        for (std::size_t row = 0; row < boxes_.size(); ++row) {
            const Pose pose = {points + row * joints_, joints_};
            scores_.push_back(mean_score(pose));
            next_.push_back(box_of(pose));
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
