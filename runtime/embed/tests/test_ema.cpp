// The CPU's loops of an EMA against the CUDA kernel's block, run thread after thread: two ways to the same numbers.
#include <cmath>
#include <random>

#include "check.h"
#include "../../kernels/attention.h"
#include "../src/ema.h"

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
}

}  // namespace

int main() {
    both_agree(1, 64, 48);
    both_agree(2, 32, 24);
    both_agree(4, 16, 12);
    both_agree(8, 8, 6);
    both_agree(8, 2, 3);
    both_agree(4, 5, 7);
    both_agree(1, 1, 1);
    return failures;
}
