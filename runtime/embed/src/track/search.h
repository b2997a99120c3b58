// Finding one person in a frame without a detector: by the network's own scores in windows that are refined, as
// lehrnet/runtime/track/search.py defines it.
#pragma once

#include <vector>

#include "matching.h"

namespace lehrnet::track {

// What the search needs of a network.
class Look {
public:
    virtual ~Look() = default;
    // The joints of the person in each box, in memory that lives until the next call.
    virtual const Point* operator()(const std::vector<Box>& boxes) = 0;
};

// Memory for searches, taken once.
class Search {
public:
    // sigmas are the joints' tolerances; min_score is the lowest mean score of a person's joints.
    Search(const std::vector<double>& sigmas, double min_score);

    // Into `found` the box of the person whom the network is surest of in a frame of so many px, or nothing. As a heatmap
    // always has a peak, what has settled is a person only if its joints stay where they are when the box is moved, and if the
    // network is sure of them.
    void find_person(Look& look, int width, int height, std::vector<Box>& found);

    // Most boxes in a look.
    static std::size_t most_windows();

private:
    void look_at_windows(int width, int height);
    void settle(Look& look, std::vector<Box>& found);
    bool is_person(Look& look, const Box& box);
    Pose pose(const Point* points, std::size_t row) const { return {points + row * sigmas_.size(), sigmas_.size()}; }

    const std::vector<double>& sigmas_;
    double min_score_;
    std::vector<Box> boxes_, next_;
    std::vector<double> scores_;
    Rows order_;
};

}  // namespace lehrnet::track
