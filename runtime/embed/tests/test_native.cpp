// The engine's sets of instructions and its threads agree, side by side in one process. tests/runtime/test_native.py ties
// it to PyTorch. For AddressSanitizer and ThreadSanitizer, too.
#include <algorithm>
#include <cmath>
#include <thread>

#include "check.h"
#include "packed.h"

namespace {

using namespace packed;

constexpr int HEIGHT = 32, WIDTH = 64, JOINTS = 5, PEOPLE = 3;

std::vector<float> crops() {
    std::vector<float> pixels(PEOPLE * 3 * HEIGHT * WIDTH);
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>(i * 7919 % 1009) / 500 - 1;
    return pixels;
}

std::vector<float> heatmaps(const Bytes& file, const Kernels& kernels, int max_batch, int threads, int turns = 1) {
    Engine engine(Artefact(file.data(), file.size(), "it"), HEIGHT, WIDTH, max_batch, threads, kernels);
    const std::vector<float> in = crops();
    std::vector<float> out(PEOPLE * JOINTS * HEIGHT * WIDTH / 16);
    for (int turn = 0; turn < turns; ++turn) {
        std::fill(out.begin(), out.end(), NAN);
        for (int first = 0; first < PEOPLE; first += max_batch) {
            const int count = std::min(max_batch, PEOPLE - first);
            engine.run(in.data() + first * 3 * HEIGHT * WIDTH, count, out.data() + first * JOINTS * HEIGHT * WIDTH / 16);
        }
    }
    return out;
}

// Of the greatest value; 0 where both are the same to the last bit.
float difference(const std::vector<float>& a, const std::vector<float>& b) {
    float apart = 0, greatest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        CHECK(std::isfinite(a[i]) && std::isfinite(b[i]));
        apart = std::max(apart, std::fabs(a[i] - b[i]));
        greatest = std::max(greatest, std::fabs(b[i]));
    }
    CHECK(greatest > 0);
    return apart / greatest;
}

void check_network(const Bytes& file, float tolerance) {
    const std::vector<float> plain = heatmaps(file, choose_instructions("plain"), 1, 1);
    for (const Kernels* each : usable_instructions()) {
        const std::vector<float> wanted = heatmaps(file, *each, 1, 1);
        CHECK(difference(wanted, plain) < tolerance);
        CHECK(difference(heatmaps(file, *each, 1, 3, 2), wanted) == 0);
        CHECK(difference(heatmaps(file, *each, 3, 2, 3), wanted) == 0);
        CHECK(difference(heatmaps(file, *each, 2, 4, 2), wanted) == 0);
    }
}

void check_side_by_side(const Bytes& file) {
    const Kernels& kernels = choose_instructions();
    const std::vector<float> wanted = heatmaps(file, kernels, 1, 1);
    std::vector<std::vector<float>> found(2);
    std::vector<std::thread> threads;
    for (std::vector<float>& each : found) threads.emplace_back([&] { each = heatmaps(file, kernels, 2, 2, 3); });
    for (std::thread& thread : threads) thread.join();
    for (const std::vector<float>& each : found) CHECK(difference(each, wanted) == 0);
}

constexpr float CLOSE = 1e-5f, STEPS = 0.05f;  // of bytes a step here and there is rounded the other way

}  // namespace

int main(int, char** arguments) {
    const std::string golden = arguments[1];
    const Bytes light = network(golden, "light");
    check_side_by_side(light);
    check_network(light, CLOSE);
    check_network(network(golden, "light", 2), STEPS);
#ifndef __SANITIZE_THREAD__  // whose loops take fifty times their time; these differ in no thread's work
    for (const char* name : {"without_attention", "dense", "deep"}) {
        check_network(network(golden, name), CLOSE);
        check_network(network(golden, name, 2), STEPS);
    }
#endif
    return failures;
}
