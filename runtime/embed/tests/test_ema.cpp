// The CPU's loops of an EMA against the CUDA kernel's block, run thread after thread: two ways to the same numbers.
#include <algorithm>
#include <array>
#include <cmath>
#include <random>

#include "check.h"
#include "../../kernels/attention.h"
#include "../src/ema.h"
#include "../src/ema_shapes.h"

namespace {

constexpr int THREADS = 256;

std::vector<float> noise(std::mt19937& random, std::size_t count, float deviation) {
    std::normal_distribution<float> normal(0, deviation);
    std::vector<float> numbers(count);
    for (float& number : numbers) number = normal(random);
    return numbers;
}

struct InTurn {
    template <class Phase>
    void operator()(const Phase& phase) const {
        for (int thread = 0; thread < THREADS; ++thread) phase(thread);
    }
};

void by_block(const lehrnet::EmaWeights& weights, int channels, int height, int width, const float* x,
              const float* shortcut, float* out) {
    std::vector<float> memory(lehrnet::EmaBlock<THREADS>::workspace(channels, height, width));
    lehrnet::EmaBlock<THREADS> block;
    block.place_in(memory.data(), channels, height, width);
    lehrnet::run_ema(block, x, weights, shortcut, out, lehrnet::Layout{height * width, 1}, InTurn{});
}

void both_agree(int channels, int height, int width) {
    std::mt19937 random(static_cast<unsigned>(channels * 1000 + width));
    const auto c = static_cast<std::size_t>(channels), cells = static_cast<std::size_t>(height * width);
    const std::vector<float> gate = noise(random, c * c, 0.5f);
    const std::vector<float> local = noise(random, c * 9, 0.5f), each = noise(random, 5 * c, 0.5f);
    const std::vector<float> x = noise(random, c * cells, 1), shortcut = noise(random, c * cells, 1);
    std::vector<float> mean = noise(random, c * c * 9, 0.5f);
    for (float& weight : mean) weight /= static_cast<float>(cells);
    const float *bias = each.data(), *conv_bias = bias + c, *scale = conv_bias + c, *shift = scale + c, *local_bias = shift + c;

    std::vector<float> wanted(c * cells), found(c * cells);
    const lehrnet::EmaWeights block = {gate.data(), bias, local.data(), local_bias, scale, shift, mean.data(), conv_bias, 1e-5f};
    by_block(block, channels, height, width, x.data(), shortcut.data(), wanted.data());
    lehrnet::Ema ema;
    ema.groups = 1, ema.channels = channels, ema.height = height, ema.width = width, ema.eps = 1e-5f;
    ema.gate = gate.data(), ema.gate_bias = bias, ema.local = local.data(), ema.local_bias = local_bias;
    ema.scale = scale, ema.shift = shift, ema.mean = mean.data(), ema.mean_bias = conv_bias;
    std::vector<float> work(lehrnet::ema_workspace(ema));
    lehrnet::ema_group(ema, x.data(), shortcut.data(), found.data(), work.data());
    float worst = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
        worst = std::max(worst, std::abs(found[i] - wanted[i]));
    }
    CHECK(worst < 2e-5f);
    std::vector<float> damaged = x;
    damaged[c * cells / 2] = std::nanf("");
    lehrnet::ema_group(ema, damaged.data(), shortcut.data(), found.data(), work.data());
    CHECK(std::any_of(found.begin(), found.end(), [](float value) { return std::isnan(value); }));  // not hidden
}

// What an operator of 2 groups has on maps (3, 8, 6, 5): c is 4.
lehrnet::InputShapes fitting() {
    const lehrnet::InputShape map = {true, 4, {3, 8, 6, 5}}, each = {true, 1, {4}};
    return {map, map, {true, 4, {4, 4, 1, 1}}, each, {true, 4, {4, 1, 3, 3}}, {true, 1, {1}}, each, each,
            {true, 4, {4, 4, 3, 3}}, each};
}

bool says(const std::string& sentence, const std::string& phrase) { return sentence.find(phrase) != std::string::npos; }

std::string damaged(std::size_t input, const lehrnet::InputShape& shape, std::int64_t groups = 2) {
    lehrnet::InputShapes inputs = fitting();
    inputs[input] = shape;
    return lehrnet::wrong_inputs(groups, inputs);
}

void every_input_is_held_to_the_map() {
    CHECK(lehrnet::wrong_inputs(2, fitting()).empty());
    for (std::size_t input = lehrnet::SHORTCUT; input < lehrnet::EMA_INPUTS; ++input) {
        const lehrnet::InputShape whole = fitting()[input];
        CHECK(says(damaged(input, {true, 0, {}}), "has shape (), expected"));
        CHECK(says(damaged(input, {true, 5, {}}), "has rank 5, expected"));
        CHECK(says(damaged(input, {true, 1, {whole.dims[0] * 9}}), "expected"));
        CHECK(says(damaged(input, {false, whole.rank, whole.dims}), "is not of float"));
        for (std::size_t axis = 0; axis < whole.rank; ++axis) {
            for (const std::int64_t size : {std::int64_t{-1}, std::int64_t{0}, whole.dims[axis] + 1, INT64_MAX}) {
                lehrnet::InputShape shape = whole;
                shape.dims[axis] = size;
                CHECK(says(damaged(input, shape), "for a map of shape (3, 8, 6, 5) in 2 groups"));
            }
        }
    }
}

void maps_and_attributes_are_bounded() {
    for (const auto& dims : {std::array<std::int64_t, 4>{1, 0, 6, 5}, {1, 8, 0, 5}, {1, 8, 6, -5}, {-1, 8, 6, 5},
                             {INT64_MAX, 8, 6, 5}, {1, INT64_MAX, 2, 2}, {0, 8, std::int64_t{1} << 40, 1},
                             {1, 8, 1 << 20, 1 << 20}, {1 << 20, 1 << 20, 1 << 20, 1 << 20}}) {
        CHECK(says(damaged(lehrnet::MAP, {true, 4, dims}), "the map has shape"));
    }
    CHECK(says(damaged(lehrnet::MAP, {true, 3, {3, 8, 6}}), "the map has shape (3, 8, 6), expected (N, C, H, W)"));
    CHECK(says(damaged(lehrnet::MAP, {true, 4, {1, 7, 6, 5}}), "7 channels, which do not divide into 2 groups"));
    CHECK(says(damaged(lehrnet::MAP, {true, 4, {1, 8, 1 << 16, 1 << 15}}), "more work space"));
    lehrnet::InputShapes nobody = fitting();
    nobody[lehrnet::MAP].dims[0] = nobody[lehrnet::SHORTCUT].dims[0] = 0;
    CHECK(lehrnet::wrong_inputs(2, nobody).empty());
    for (const std::int64_t groups : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 62, INT64_MIN}) {
        CHECK(says(lehrnet::wrong_attributes(groups, 1e-5f), "groups is " + std::to_string(groups) + ", expected 1 to"));
    }
    for (const float epsilon : {0.0f, -1e-5f, std::nanf(""), HUGE_VALF}) {
        CHECK(says(lehrnet::wrong_attributes(2, epsilon), "epsilon is"));
    }
    CHECK(lehrnet::wrong_attributes(2, 1e-5f).empty());
}

}  // namespace

int main() {
    every_input_is_held_to_the_map();
    maps_and_attributes_are_bounded();
    both_agree(1, 64, 48);
    both_agree(2, 32, 24);
    both_agree(4, 16, 12);
    both_agree(8, 8, 6);
    both_agree(8, 2, 3);
    both_agree(4, 5, 7);
    both_agree(1, 1, 1);
    return failures;
}
