// Settings of the tracker: the defaults and the checks of lehrnet/runtime/track/options.py.
#pragma once

#include <lehrnet.h>

#include <cstddef>
#include <cstdint>

namespace lehrnet::track {

constexpr std::int32_t MOST_STREAMS = 64, MOST_PEOPLE = 256;
constexpr std::size_t MOST_DETECTIONS = 1024;  // in a frame: memory for them is taken when a tracker is made
constexpr std::size_t MOST_TRACKS = 4;         // a stream remembers at most this many times max_people

lehrnet_tracker_options default_options();

// Failure for what makes no sense.
void check_options(const lehrnet_tracker_options& options);

}  // namespace lehrnet::track
