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
    explicit Search(std::size_t joints);

    // Into `found` the box of the person whom the network is surest of in a frame of so many px; nothing if no window
    // settles.
    void find_person(Look& look, int width, int height, std::vector<Box>& found);

    // Most boxes in a look.
    static std::size_t most_windows();

private:
    void look_at_windows(int width, int height);

    std::size_t joints_;
    std::vector<Box> boxes_, next_;
    std::vector<double> scores_;
    Rows order_;
};

}  // namespace lehrnet::track
