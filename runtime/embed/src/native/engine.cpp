#include "engine.h"

#include <algorithm>
#include <chrono>

#include "../failure.h"

namespace lehrnet::native {
namespace {

constexpr int FEW_CELLS = 48;                                          // of the coarsest map, below which people share a pass
constexpr auto MOST_FLOATS = static_cast<double>(SIZE_MAX / 4 < (1u << 30) ? SIZE_MAX / 8 : 1u << 30);  // 4 GiB

// Where the coarsest maps have few cells, several people at once fill the loops and share the weights' way to the core.
int people_of_a_pass(int height, int width, int max_batch) {
    const int coarsest = height / 32 * (width / 32);
    return std::clamp(FEW_CELLS / coarsest, 1, max_batch);
}

void check_size(const Plan& plan, int memories, int threads) {
    const double floats = static_cast<double>(plan.places[static_cast<int>(Place::SHARED)]) * memories +
                          static_cast<double>(plan.places[static_cast<int>(Place::OWN)]) * threads;
    if (floats <= MOST_FLOATS) return;
    fail(LEHRNET_OUT_OF_MEMORY, "the network's maps take ", floats * 4e-9, " GB, expected at most ", MOST_FLOATS * 4e-9,
         ": fewer threads or smaller crops take less");
}

// Piece `member` of `count` things that fall to `members`.
std::pair<int, int> share(int count, int member, int members) {
    const auto cut = [&](int at) { return static_cast<int>(static_cast<long long>(count) * at / members); };
    return {cut(member), cut(member + 1)};
}

}  // namespace

Engine::Engine(Artefact artefact, int height, int width, int max_batch, int threads, const Kernels& kernels)
    : kernels_(kernels), height_(height), width_(width), joints_(artefact.config().joints),
      plan_(plan_network(artefact, height, width, people_of_a_pass(height, width, max_batch), threads, kernels)),
      weights_(static_cast<Index>(plan_.weights.all().size())) {
    std::copy(plan_.weights.all().begin(), plan_.weights.all().end(), weights_.data());
    plan_.weights = {};
    const int memories = std::clamp(max_batch / plan_.people, 1, threads);
    check_size(plan_, memories, threads);
    for (int i = 0; i < memories; ++i) shared_.emplace_back(plan_.places[static_cast<int>(Place::SHARED)]);
    for (int i = 0; i < threads; ++i) {
        own_.emplace_back(plan_.places[static_cast<int>(Place::OWN)]);
        scratch_.emplace_back(plan_.places[static_cast<int>(Place::SCRATCH)]);
        tables_.emplace_back(plan_.tables);
    }
    team_ = std::make_unique<Team>(threads);
}

Engine::~Engine() {
    // In a forked process nobody is there to be waited for, and what its threads slept on cannot be torn down.
    if (!team_->usable()) static_cast<void>(team_.release());
}

Worker Engine::worker(int member, int memory, const float* crops, float* heatmaps) const {
    return {&kernels_, weights_.data(), {shared_[memory].data(), own_[member].data(), scratch_[member].data()},
            const_cast<void**>(tables_[member].data()), crops, heatmaps};
}

void Engine::run(const float* crops, int count, float* heatmaps) {
    const int threads = team_->size();
    // People apart where there are enough: nobody waits for anybody. Else all on the same people, step by step.
    const bool apart = count >= threads && static_cast<int>(shared_.size()) >= threads;
    if (apart) {
        team_->run(threads, [&](int member) { run_apart(member, threads, crops, count, heatmaps); });
    } else {
        team_->run(threads, [&](int member) { run_together(member, threads, crops, count, heatmaps); });
    }
}

void Engine::run_apart(int member, int members, const float* crops, int count, float* heatmaps) const {
    const auto [first, end] = share(count, member, members);
    const std::size_t crop = std::size_t{3} * height_ * width_, heat = static_cast<std::size_t>(joints_) * height_ * width_ / 16;
    for (int person = first; person < end; person += plan_.people) {
        const int people = std::min(plan_.people, end - person);
        const Worker worker = this->worker(member, member, crops + person * crop, heatmaps + person * heat);
        for (const auto& step : plan_.steps) step->run(worker, people, 0, step->pieces(people));
    }
}

void Engine::run_together(int member, int members, const float* crops, int count, float* heatmaps) {
    const std::size_t crop = std::size_t{3} * height_ * width_, heat = static_cast<std::size_t>(joints_) * height_ * width_ / 16;
    for (int person = 0; person < count; person += plan_.people) {
        const int people = std::min(plan_.people, count - person);
        const Worker worker = this->worker(member, 0, crops + person * crop, heatmaps + person * heat);
        for (const auto& step : plan_.steps) {
            const auto [from, to] = share(step->pieces(people), member, members);
            step->run(worker, people, from, to);
            team_->meet(members);
        }
    }
}

std::vector<Engine::Timing> Engine::time_steps(const float* crops, float* heatmaps, int rounds) {
    using Clock = std::chrono::steady_clock;
    std::vector<Timing> timings;
    for (const auto& step : plan_.steps) timings.push_back({step->name, step->multiply_adds, 1e18});
    const Worker worker = this->worker(0, 0, crops, heatmaps);
    for (int round = 0; round < rounds; ++round) {
        for (std::size_t i = 0; i < timings.size(); ++i) {
            const auto begin = Clock::now();
            plan_.steps[i]->run(worker, 1, 0, plan_.steps[i]->pieces(1));
            const double taken = std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
            timings[i].nanoseconds = std::min(timings[i].nanoseconds, taken);
        }
    }
    return timings;
}

}  // namespace lehrnet::native
