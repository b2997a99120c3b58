// What the engine does one after another. A step is planned once, and then only reads what it was planned with.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels.h"
#include "memory.h"

namespace lehrnet::native {

// What one thread works with.
struct Worker {
    const Kernels* kernels;
    const float* weights;
    float* places[PLACES];
    void* tables;                // of pointers to cells: room for Plan::tables of them
    const float* crops;          // (people, 3, H, W)
    float* heatmaps;             // (people, K, H/4, W/4)

    float* at(const View& view, int global_row) const { return places[static_cast<int>(view.place)] + view.at(global_row); }
    // Likewise where a view counts bytes.
    std::uint8_t* bytes_at(const View& view, int global_row) const {
        return reinterpret_cast<std::uint8_t*>(places[static_cast<int>(view.place)]) + view.at(global_row);
    }
};

// Something that is done row by row, each for itself.
class Rows {
public:
    virtual ~Rows() = default;
    virtual void run(const Worker& worker, int from, int to) const = 0;
};

// A convolution's input: row y, column x of the output sees what the taps say around cell (y, x) * stride.
struct Input {
    View view;
    int stride;
    std::vector<Tap> taps;
};

// What is added to a convolution's output: cell (y, x) takes cell (y, x) / 2^halvings.
struct Addend {
    View view;
    int halvings;
};

// Any sum of linear operators that see a few cells, with bias, addends and ReLU.
class Convolution : public Rows {
public:
    void run(const Worker& worker, int from, int to) const final;
    // How many pointers its tables hold.
    Index pointers() const;

    int width = 0;     // cells of a row
    int together = 1;  // neighbours in one row whose channels stand side by side, so that they fill a vector
    int strip = 1;     // rows that are done at once
    std::vector<std::unique_ptr<Rows>> before;  // what fills the scratch that it reads, strip by strip
    std::vector<Input> inputs;
    std::vector<Addend> addends;
    View out;
    Index panels = 0, bias = 0, vectors = 0, depth = 0;  // where the weights stand among all
    bool rectify = false;

protected:
    virtual Index outputs() const { return 1; }
    virtual void run_strip(const Worker& worker, int from, int to) const = 0;
};

class FloatConvolution final : public Convolution {
    void run_strip(const Worker& worker, int from, int to) const override;
};

// Of inputs that are bytes.
class ByteConvolution final : public Convolution {
public:
    Index start = 0, factors = 0;  // where they stand among the weights
    std::vector<bool> negative;    // of each input
    bool floats = true;            // whether `out` is of floats
    View bytes;                    // where its result goes in steps of 1 / `steps`, unless that is 0
    float steps = 0;

private:
    Index outputs() const override { return 2; }
    void run_strip(const Worker& worker, int from, int to) const override;
};

// Rows of a map in steps of 1 / `steps`; where the output's grid is halved, two for one of its rows.
class Quantized final : public Rows {
public:
    void run(const Worker& worker, int from, int to) const override;
    // How many pointers its tables hold: a row's.
    Index pointers() const { return 2 * (Index{width} + 64); }

    View in, out;
    int width = 0, stride = 1;
    Index channels = 0;
    float steps = 0;
};

// The mean over 2x2 cells of a map of bytes.
class ByteAverages final : public Rows {
public:
    void run(const Worker& worker, int from, int to) const override;

    View in, out;
    int width = 0;  // of the output
    Index channel = 0, channels = 0;
};

// The mean over 2x2 cells of channels from `channel` on.
class Averages final : public Rows {
public:
    void run(const Worker& worker, int from, int to) const override;

    View in, out;
    int width = 0;  // of the output
    Index channel = 0, channels = 0;
};

// The crops, planes of colours, as a map.
class Crops final : public Rows {
public:
    void run(const Worker& worker, int from, int to) const override;

    Map out;
};

// A map of joints as planes.
class Heatmaps final : public Rows {
public:
    void run(const Worker& worker, int from, int to) const override;

    View in;
    int height = 0, width = 0, joints = 0;
};

// A part of the work that needs all before it and no other part of itself: threads share it, then wait for each other.
class Step {
public:
    Step(std::string name, double multiply_adds) : name(std::move(name)), multiply_adds(multiply_adds) {}
    virtual ~Step() = default;
    // Into how many pieces it falls.
    virtual int pieces(int people) const = 0;
    virtual void run(const Worker& worker, int people, int from, int to) const = 0;

    const std::string name;
    double multiply_adds;  // for one person
};

// Rows of several maps, each map's as soon as what they read is there: what one gives, the next finds in cache.
class Chain final : public Step {
public:
    Chain(std::string name, double multiply_adds, int height, int strip)
        : Step(std::move(name), multiply_adds), height_(height), strip_(strip) {}
    // `lag`: how many rows further up and down it reads of the one before.
    void add(std::unique_ptr<Rows> rows, int lag);

    int pieces(int people) const override { return people * height_; }
    void run(const Worker& worker, int people, int from, int to) const override;

private:
    static constexpr std::size_t MOST = 18;
    struct Link {
        std::unique_ptr<Rows> rows;
        int lag;
    };
    void advance(const Worker& worker, std::size_t link, int until, int end, int (&done)[MOST]) const;

    int height_, strip_;
    std::vector<Link> links_;
};

// EMA, the shortcut and the ReLU.
class Attention final : public Step {
public:
    using Step::Step;
    int pieces(int people) const override { return people * vectors(); }
    void run(const Worker& worker, int people, int from, int to) const override;

    Map in;              // channel o of group g at o * channel + g
    View shortcut, out;  // the quarter's groups first: (channel of the group, group) of them, then likewise of the rest
    int groups = 0, group = 0, lanes = 1;
    Index channel = 0, weights = 0, work = 0;  // weights as the artefact has them, one tensor behind the other

private:
    int vectors() const { return (groups + lanes - 1) / lanes; }
    Attend task(const Worker& worker, int person, int vector) const;
    void set_runs(const Worker& worker, int person, int vector, Attend& task) const;
};

}  // namespace lehrnet::native
