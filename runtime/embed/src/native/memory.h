// Where maps lie: channels last, cell behind cell, with a border of zeros that nothing ever writes to.
#pragma once

#include <vector>

#include "kernels.h"

namespace lehrnet::native {

// Maps that all workers on a batch see; what each worker has for itself, of which scratch lasts for one convolution.
enum class Place { SHARED, OWN, SCRATCH };
constexpr int PLACES = 3;

// Rows of cells, of floats or of bytes: all but `height` is counted in them. Rows are counted through all people of a batch: row y of person p is row p * height + y.
struct View {
    Place place = Place::SHARED;
    Index first = 0;                    // from the place's beginning to cell (0, 0) of the first person
    int height = 1;                     // rows of a person; of a strip: how many it holds until it begins again
    Index person = 0, row = 0, cell = 0;  // from one to the next

    Index at(int global_row) const { return first + global_row / height * person + global_row % height * row; }
};

struct Map {
    View view;
    int height = 0, width = 0, channels = 0;
};

// Gives every map its place before any memory exists.
class Planner {
public:
    Planner(int people, Index lanes) : people_(people), lanes_(lanes) {}

    Map map(Place place, int height, int width, int channels);
    // Its cells have no room for whole vectors: what is written to them one by one.
    Map tight_map(Place place, int height, int width, int channels);
    // `rows` rows without a border, used again and again as a strip moves down a map.
    View strip(int rows, int width, int channels);
    // Likewise, in memory that one convolution has while it runs, of which it took `taken` floats already.
    View scratch(int rows, int width, Index cell, Index& taken);
    Index floats(Place place, Index count);

    // Likewise of bytes: their views count bytes, from the place's beginning on.
    Map byte_map(Place place, int height, int width, int channels);
    View byte_strip(int rows, int width, int channels);
    View byte_scratch(int rows, int width, Index cell, Index& taken);

    Index whole_vectors(Index channels) const { return (channels + lanes_ - 1) / lanes_ * lanes_; }
    Index size(Place place) const { return sizes_[static_cast<int>(place)]; }

private:
    static Map map_of(Place place, int height, int width, int channels, Index cell);
    // Gives it its place, in a memory whose floats hold so many of what it counts.
    Map placed(Map map, Index in_a_float);
    void take_scratch(Index count, Index& taken);
    Index pitch(int channels) const;
    Index byte_pitch(int channels) const;

    int people_;
    Index lanes_, sizes_[PLACES] = {};
};

// Zeroed floats on a cache line's boundary, on large pages where the system has them.
class Floats {
public:
    explicit Floats(Index count);
    ~Floats();
    Floats(Floats&& other) noexcept : data_(other.data_) { other.data_ = nullptr; }
    Floats(const Floats&) = delete;
    Floats& operator=(const Floats&) = delete;

    float* data() const { return data_; }

private:
    float* data_;
};

}  // namespace lehrnet::native
