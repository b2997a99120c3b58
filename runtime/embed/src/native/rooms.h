// Maps that a worker has for itself, for as long as a chain runs: made when first asked for, and then used again.
#pragma once

#include <array>
#include <map>

#include "memory.h"

namespace lehrnet::native {

class Rooms {
public:
    explicit Rooms(Planner& planner) : planner_(planner) {}

    // One chain asks for several of the same sizes by different numbers.
    const Map& floats(int height, int width, int channels, int number) {
        Map& room = floats_[{height, width, channels, number}];
        if (room.channels == 0) room = planner_.map(Place::OWN, height, width, channels);
        return room;
    }
    const View& bytes(int height, int width, int channels, int number) {
        Map& room = bytes_[{height, width, channels, number}];
        if (room.channels == 0) room = planner_.byte_map(Place::OWN, height, width, channels);
        return room.view;
    }

private:
    using Key = std::array<int, 4>;
    Planner& planner_;
    std::map<Key, Map> floats_, bytes_;
};

}  // namespace lehrnet::native
