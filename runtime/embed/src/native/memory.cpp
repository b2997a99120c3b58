#include "memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace lehrnet::native {
namespace {

constexpr Index LINE = 16;                    // floats in a line of cache
constexpr Index SLACK = 64;                   // floats behind a map that whole vectors may read
constexpr Index CLASH = 256;                  // floats, 1 KiB: cells this far apart crowd into a quarter of a cache
constexpr Index IN_A_FLOAT = sizeof(float);   // bytes
constexpr std::size_t LARGE_PAGE = 2u << 20;  // bytes

Index whole_lines(Index floats) { return (floats + LINE - 1) / LINE * LINE; }

}  // namespace

Index Planner::pitch(int channels) const {
    const Index whole = whole_vectors(channels);
    return whole % CLASH == 0 ? whole + LINE : whole;
}

Index Planner::byte_pitch(int channels) const {
    const Index whole = whole_vectors(channels);
    return whole % (CLASH * IN_A_FLOAT) == 0 ? whole + LINE * IN_A_FLOAT : whole;
}

Map Planner::map(Place place, int height, int width, int channels) {
    return placed(map_of(place, height, width, channels, pitch(channels)), 1);
}

Map Planner::tight_map(Place place, int height, int width, int channels) {
    return placed(map_of(place, height, width, channels, channels), 1);
}

Map Planner::byte_map(Place place, int height, int width, int channels) {
    return placed(map_of(place, height, width, channels, byte_pitch(channels)), IN_A_FLOAT);
}

Map Planner::placed(Map map, Index in_a_float) {
    View& view = map.view;
    const Index count = people_ * view.person + view.row + view.cell;
    view.first = floats(view.place, (count + in_a_float - 1) / in_a_float) * in_a_float + view.row + view.cell;
    return map;
}

Map Planner::map_of(Place place, int height, int width, int channels, Index cell) {
    Map map;
    map.height = height, map.width = width, map.channels = channels;
    View& view = map.view;
    view.place = place;
    view.height = height;
    view.cell = cell;
    view.row = (width + 1) * view.cell;  // a row's right border is the next one's left
    view.person = (height + 1) * view.row;
    return map;
}

View Planner::strip(int rows, int width, int channels) {
    View view;
    view.place = Place::OWN;
    view.height = rows;
    view.cell = pitch(channels);
    view.row = width * view.cell;
    view.first = floats(Place::OWN, rows * view.row);
    return view;
}

View Planner::byte_strip(int rows, int width, int channels) {
    View view;
    view.place = Place::OWN;
    view.height = rows;
    view.cell = byte_pitch(channels);
    view.row = width * view.cell;
    view.first = floats(Place::OWN, rows * view.row / IN_A_FLOAT + 1) * IN_A_FLOAT;
    return view;
}

View Planner::byte_scratch(int rows, int width, Index cell, Index& taken) {
    View view;
    view.place = Place::SCRATCH;
    view.height = rows;
    view.cell = cell;
    view.row = width * cell;
    view.first = taken * IN_A_FLOAT;
    take_scratch(rows * view.row / IN_A_FLOAT + 1, taken);
    return view;
}

View Planner::scratch(int rows, int width, Index cell, Index& taken) {
    View view;
    view.place = Place::SCRATCH;
    view.height = rows;
    view.cell = cell;
    view.row = width * cell;
    view.first = taken;
    take_scratch(rows * view.row, taken);
    return view;
}

void Planner::take_scratch(Index count, Index& taken) {
    taken += whole_lines(count + SLACK);
    Index& most = sizes_[static_cast<int>(Place::SCRATCH)];
    most = std::max(most, taken);
}

Index Planner::floats(Place place, Index count) {
    Index& size = sizes_[static_cast<int>(place)];
    const Index first = size;
    size += whole_lines(count + SLACK);
    return first;
}

Floats::Floats(Index count) : data_(nullptr) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
    const std::size_t boundary = bytes >= LARGE_PAGE ? LARGE_PAGE : 64;
    const std::size_t whole = (bytes + boundary - 1) / boundary * boundary;
    data_ = static_cast<float*>(std::aligned_alloc(boundary, std::max(whole, boundary)));
    if (!data_) throw std::bad_alloc();
#ifdef __linux__
    if (boundary == LARGE_PAGE) madvise(data_, whole, MADV_HUGEPAGE);  // a wish: whatever it answers is right
#endif
    std::memset(data_, 0, std::max(whole, boundary));
}

Floats::~Floats() { std::free(data_); }

}  // namespace lehrnet::native
