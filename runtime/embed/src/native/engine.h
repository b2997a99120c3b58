// A packed network that runs on this processor: crops in, heatmaps out.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "artefact.h"
#include "network.h"
#include "team.h"

namespace lehrnet::native {

class Engine {
public:
    // For up to `max_batch` crops of height x width at once; the artefact's bytes are needed no longer.
    Engine(Artefact artefact, int height, int width, int max_batch, int threads, const Kernels& kernels);
    ~Engine();

    // Heatmaps (count, K, H/4, W/4) of crops (count, 3, H, W). Allocates nothing.
    void run(const float* crops, int count, float* heatmaps);

    // Not in a process that was forked off after this was made: threads stay behind.
    bool usable() const { return team_->usable(); }

    // What run does for one person on one thread, step by step, each step by the least of its times.
    struct Timing {
        std::string name;
        double multiply_adds, nanoseconds;
    };
    std::vector<Timing> time_steps(const float* crops, float* heatmaps, int rounds);

    const Kernels& kernels() const { return kernels_; }

private:
    Worker worker(int member, int memory, const float* crops, float* heatmaps) const;
    void run_apart(int member, int members, const float* crops, int count, float* heatmaps) const;
    void run_together(int member, int members, const float* crops, int count, float* heatmaps);

    const Kernels& kernels_;
    int height_, width_, joints_;
    Plan plan_;
    Floats weights_;
    std::vector<Floats> shared_, own_, scratch_;
    std::vector<std::vector<void*>> tables_;
    std::unique_ptr<Team> team_;
};

}  // namespace lehrnet::native
