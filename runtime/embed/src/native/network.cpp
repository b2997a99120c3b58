#include "network.h"

#include <algorithm>

#include "layers.h"
#include "rooms.h"

namespace lehrnet::native {
namespace {

constexpr int STEM = 64, STAGE1 = 256, STAGE1_UNITS = 4, BRANCHES = 4;
constexpr int ROWS_A_UNIT = 16;  // that a thread has of a map for each unit in a chain, so that few are done twice

// A branch's maps: `now` holds what came last, `next` is where the next unit writes.
struct Branch {
    Channels now, next;
    Map weighed;                 // what EMA takes
    Order weighed_order;
};

class Builder {
public:
    Builder(Artefact& artefact, int height, int width, int people, int threads, const Kernels& kernels)
        : artefact_(artefact), config_(artefact.config()), kernels_(kernels), planner_(people, kernels.lanes), height_(height),
          width_(width), threads_(threads) {
        plan_.people = people;
    }

    Plan build() {
        stage1(stem());
        make_branches();
        transition1();
        for (int stage = 2; stage <= BRANCHES; ++stage) {
            if (stage > 2) open_branch(stage - 1);
            const int modules = config_.modules[stage - 2];
            for (int module = 0; module < modules; ++module) {
                const bool last = stage == BRANCHES && module == modules - 1;
                exchange("stage" + std::to_string(stage), stage, last ? 1 : stage);
            }
        }
        head();
        artefact_.finish();
        for (int place = 0; place < PLACES; ++place) plan_.places[place] = planner_.size(static_cast<Place>(place));
        return std::move(plan_);
    }

private:
    Channels stem() {
        const Map crops = planner_.tight_map(Place::SHARED, height_, width_, 3);
        auto rows = std::make_unique<Crops>();
        rows->out = crops;
        auto chain = std::make_unique<Chain>("crops", 0, height_, 1);
        chain->add(std::move(rows), 0);
        plan_.steps.push_back(std::move(chain));
        const Channels first = shared(height_ / 2, width_ / 2, STEM), second = shared(height_ / 4, width_ / 4, STEM);
        spatial_step("stem", {crops, plain_order(3), {}}, first, 2, take_floats(3, false));
        spatial_step("stem", first, second, 2, take_floats(STEM, config_.light_convs));
        return second;
    }

    // An operator of the stem, whose inputs may be below 0 or are few.
    Spatial take_floats(int channels, bool light) {
        if (artefact_.bytes_next()) artefact_.refuse("is of bytes, but the stem takes floats");
        return take_spatial(artefact_, channels, STEM, 2, light);
    }

    // Units follow each other through the cache, and leave but strips of 256 channels behind. Threads that share a map's
    // rows each do the rows around their own once more: with many threads units stand alone.
    void stage1(Channels now) {
        const int height = height_ / 4, width = width_ / 4, strip = strip_rows(width);
        const int together = std::clamp(height / threads_ / ROWS_A_UNIT, 1, STAGE1_UNITS);
        Channels middle = strip_of(strip, height, width, STEM);
        std::unique_ptr<Chain> chain;
        for (int unit = 0; unit < STAGE1_UNITS; ++unit) {
            if (!chain) chain = std::make_unique<Chain>("stage1", 0, height, strip);
            const bool last = unit == STAGE1_UNITS - 1 || (unit + 1) % together == 0;
            const Channels out = last ? shared(height, width, STAGE1) : strip_of(strip + 1, height, width, STAGE1);
            bottleneck(*chain, unit, now, middle, out);
            now = out;
            if (last) plan_.steps.push_back(std::move(chain));
        }
        trunk_ = now;
    }

    // 1x1 to a quarter of the width, 3x3, 1x1 back, and the shortcut.
    void bottleneck(Chain& chain, int unit, const Channels& in, Channels& middle, const Channels& out) {
        const int channels = in.map.channels, height = out.map.height, width = out.map.width;
        const Pointwise reduce = take_pointwise(artefact_, channels, STEM);
        const Spatial spatial = take_spatial(artefact_, STEM, STEM, 1, config_.light_convs);
        const Pointwise expand = take_pointwise(artefact_, STEM, STAGE1);
        check_alike({reduce.step, spatial.step, expand.step});
        const Channels reduced = between(height, width, STEM, spatial.step, unit + 1);
        if (expand.step != 0 && middle.bytes.cell == 0) middle.bytes = planner_.byte_strip(middle.map.view.height, width, STEM);
        double multiply_adds = 0;
        ConvolutionBuilder first = into(reduced, spatial.step);
        first.add_pointwise(in, reduce);
        first.rectify();
        chain.add(finished(first, multiply_adds), 0);
        ConvolutionBuilder second = into(middle, expand.step);
        second.add_spatial(reduced, spatial, 1);
        second.rectify();
        chain.add(finished(second, multiply_adds), 1);
        ConvolutionBuilder third = into(out);
        if (channels == STAGE1) third.add_map(in.map.view, 0);
        else third.add_pointwise(in, take_pointwise(artefact_, channels, STAGE1));
        third.add_pointwise(middle, expand);
        third.rectify();
        chain.add(finished(third, multiply_adds), 0);
        chain.multiply_adds += multiply_adds * height * width;
    }

    void make_branches() {
        const int groups = config_.width, whole = static_cast<int>(planner_.whole_vectors(groups));
        for (int b = 0; b < BRANCHES; ++b) {
            const int height = height_ >> (b + 2), width = width_ >> (b + 2), channels = config_.channels(b);
            Branch& branch = branches_[b];
            branch.now = {planner_.map(Place::SHARED, height, width, channels), branch_order(b), {}};
            branch.next = {planner_.map(Place::SHARED, height, width, channels), branch_order(b), {}};
            if (!config_.attention) continue;
            branch.weighed = planner_.map(Place::SHARED, height, width, whole << b);
            for (int channel = 0; channel < 1 << b; ++channel) {
                for (int group = 0; group < whole; ++group) {
                    branch.weighed_order.push_back(group < groups ? (group << b) + channel : -1);
                }
            }
            const Index work = attend_work(height, width, 1 << b, kernels_.lanes);
            if (work > work_size_) work_ = planner_.floats(Place::OWN, work_size_ = work);
        }
    }

    // EMA's lanes are groups: the quarter's groups stand first, a partial conv takes them; in both parts the groups'
    // first channels stand side by side, then their second ones.
    Order branch_order(int branch) const {
        if (!config_.attention) return plain_order(config_.channels(branch));
        const int groups = config_.width, quarter = groups / 4;
        Order order;
        const auto add = [&](int from, int to) {
            for (int channel = 0; channel < 1 << branch; ++channel) {
                for (int group = from; group < to; ++group) order.push_back((group << branch) + channel);
            }
        };
        add(0, quarter);
        add(quarter, groups);
        return order;
    }

    void transition1() {
        if (config_.width == STAGE1) {
            branches_[0].now = trunk_;  // branch 0's order is plain
        } else {
            finest();
        }
        spatial_step("transition1", trunk_, branches_[1].now, 2, take_between(trunk_, branches_[1].now, 2));
    }

    void finest() {
        Channels& out = branches_[0].now;
        const Spatial spatial = take_spatial(artefact_, STAGE1, config_.width, 1, config_.light_convs);
        if (!spatial.narrows) {
            spatial_step("transition1", trunk_, out, 1, spatial);
            return;
        }
        Channels narrow = out;
        narrow.map = rooms_.floats(height_ / 4, width_ / 4, config_.width, 1);
        ConvolutionBuilder pointwise = into(narrow);
        pointwise.add_first_of(trunk_, spatial);
        ConvolutionBuilder partial = into(out);
        partial.add_second_of(narrow, spatial);
        partial.rectify();
        auto chain = chain_on("transition1", out.map);
        add_rows(*chain, pointwise, out.map, 0);
        add_rows(*chain, partial, out.map, 1);
        plan_.steps.push_back(std::move(chain));
    }

    // Opens a branch from the coarsest one.
    void open_branch(int branch) {
        const Channels &from = branches_[branch - 1].now, &to = branches_[branch].now;
        spatial_step("transition" + std::to_string(branch), from, to, 2, take_between(from, to, 2));
    }

    void exchange(const std::string& stage, int branches, int outputs) {
        for (int b = 0; b < branches; ++b) {
            for (int unit = 0; unit < config_.units; ++unit) residual(stage + " branch " + std::to_string(b), branches_[b], b);
        }
        for (int target = 0; target < outputs; ++target) fuse(stage + " fusion", branches, target);
        for (int target = 0; target < outputs; ++target) std::swap(branches_[target].now, branches_[target].next);
    }

    // Two 3x3 operators, EMA where there is attention, and the shortcut.
    void residual(const std::string& name, Branch& branch, int b) {
        const Map& map = branch.now.map;
        const Spatial first = take_spatial(artefact_, map.channels, map.channels, 1, config_.light_units);
        const Spatial second = take_spatial(artefact_, map.channels, map.channels, 1, config_.light_units);
        check_alike({first.step, second.step});
        auto chain = chain_on(name, map);
        const Channels middle = between(map.height, map.width, map.channels, second.step);
        ConvolutionBuilder one = into(middle, second.step);
        one.add_spatial(in_steps(*chain, branch.now, first.step, 1), first, 1);
        one.rectify();
        add_rows(*chain, one, map, 1);
        ConvolutionBuilder two = config_.attention ? into({branch.weighed, branch.weighed_order, {}}) : into(branch.next);
        two.add_spatial(middle, second, 1);
        if (!config_.attention) {
            two.add_map(map.view, 0);
            two.rectify();
        }
        add_rows(*chain, two, map, 1);
        plan_.steps.push_back(std::move(chain));
        if (config_.attention) attention(name + " EMA", branch, b);
        std::swap(branch.now, branch.next);
    }

    void attention(const std::string& name, const Branch& branch, int b) {
        auto step = std::make_unique<Attention>(name, 0);
        const int group = 1 << b;
        const std::uint32_t c = size(group);
        step->in = branch.weighed;
        step->shortcut = branch.now.map.view, step->out = branch.next.map.view;
        step->groups = config_.width, step->group = group, step->lanes = static_cast<int>(kernels_.lanes);
        step->channel = planner_.whole_vectors(config_.width);
        step->work = work_;
        std::vector<float> tensors;
        for (const Sizes& sizes : {Sizes{c, c}, Sizes{c}, Sizes{c, 1, 3, 3}, Sizes{1}, Sizes{c}, Sizes{c}, Sizes{c, c, 3, 3}, Sizes{c}, Sizes{1}}) {
            const float* const tensor = artefact_.take(sizes);
            tensors.insert(tensors.end(), tensor, tensor + sizes.count());
        }
        step->weights = plan_.weights.add(tensors.data(), static_cast<Index>(tensors.size()));
        plan_.steps.push_back(std::move(step));
    }

    // What branch `target` receives: the sum of all, each by its path.
    void fuse(const std::string& name, int branches, int target) {
        const Channels& out = branches_[target].next;
        auto chain = chain_on(name, out.map);
        ConvolutionBuilder sum = into(out);
        sum.add_map(branches_[target].now.map.view, 0);
        for (int source = 0; source < target; ++source) add_finer(*chain, sum, name, source, target);
        for (int source = target + 1; source < branches; ++source) sum.add_map(coarser(name, source, target).map.view, source - target);
        sum.rectify();
        add_rows(*chain, sum, out.map, 1);
        plan_.steps.push_back(std::move(chain));
    }

    // Halved to the grid above the target's, with a map for each; the last halving is a part of the sum.
    void add_finer(Chain& chain, ConvolutionBuilder& sum, const std::string& name, int source, int target) {
        const int channels = config_.channels(source);
        Channels from = branches_[source].now;
        for (int b = source + 1; b < target; ++b) {
            Channels& half = halves_[source][b];
            if (half.order.empty()) half = shared(height_ >> (b + 2), width_ >> (b + 2), channels);
            spatial_step(name, from, half, 2, take_between(from, half, 2));
            from = half;
        }
        const Spatial last = take_between(from, branches_[target].next, 2);
        sum.add_spatial(in_steps(chain, from, last.step, 2), last, 2);
    }

    // With the target's channels, on the source's grid.
    Channels coarser(const std::string& name, int source, int target) {
        const Channels& from = branches_[source].now;
        Channels& low = lows_[source][target];
        if (low.order.empty()) {
            low = {planner_.map(Place::SHARED, from.map.height, from.map.width, config_.channels(target)), branches_[target].next.order, {}};
        }
        ConvolutionBuilder pointwise = into(low);
        pointwise.add_pointwise(from, take_pointwise(artefact_, from.map.channels, low.map.channels));
        auto chain = chain_on(name, low.map);
        add_rows(*chain, pointwise, low.map, 0);
        plan_.steps.push_back(std::move(chain));
        return low;
    }

    void head() {
        const Channels& in = branches_[0].now;
        const Map& map = in.map;
        const View strip = planner_.strip(strip_rows(map.width), map.width, config_.joints);
        ConvolutionBuilder conv(kernels_, planner_, map.width, strip, plain_order(config_.joints));
        if (artefact_.bytes_next()) artefact_.refuse("is of bytes, but the head takes floats");
        conv.add_pointwise(in, take_pointwise(artefact_, map.channels, config_.joints));
        auto planes = std::make_unique<Heatmaps>();
        planes->in = strip;
        planes->height = map.height, planes->width = map.width, planes->joints = config_.joints;
        auto chain = chain_on("head", map);
        add_rows(*chain, conv, map, 0);
        chain->add(std::move(planes), 0);
        plan_.steps.push_back(std::move(chain));
    }

    // A 3x3 operator and ReLU.
    void spatial_step(const std::string& name, const Channels& in, const Channels& out, int stride, const Spatial& spatial) {
        auto chain = chain_on(name, out.map);
        ConvolutionBuilder conv = into(out);
        conv.add_spatial(in_steps(*chain, in, spatial.step, stride), spatial, stride);
        conv.rectify();
        add_rows(*chain, conv, out.map, 1);
        plan_.steps.push_back(std::move(chain));
    }

    Spatial take_between(const Channels& in, const Channels& out, int stride) {
        return take_spatial(artefact_, in.map.channels, out.map.channels, stride, config_.light_convs);
    }

    // In steps that are worth `step` where that is not 0; the chain turns floats into them ahead of what reads them.
    Channels in_steps(Chain& chain, const Channels& in, float step, int stride) {
        if (step == 0) return in;
        Channels steps = in;
        steps.bytes = rooms_.bytes(in.map.height, in.map.width, in.map.channels, 0);
        chain.add(quantized(in.map, steps.bytes, step, stride, plan_.tables), 0);
        return steps;
    }

    // Between two operators of a unit: in steps, where the second reads them.
    Channels between(int height, int width, int channels, float step, int number = 1) {
        if (step == 0) return {rooms_.floats(height, width, channels, number), plain_order(channels), {}};
        return {{{}, height, width, channels}, plain_order(channels), rooms_.bytes(height, width, channels, number)};
    }

    // A unit's operators are all of floats or all of bytes: what they give each other is either.
    void check_alike(std::initializer_list<float> steps) const {
        for (const float step : steps) {
            if ((step != 0) != (*steps.begin() != 0)) artefact_.refuse("is of another type than the operator's before it in one unit");
        }
    }

    ConvolutionBuilder into(const Channels& out, float step = 0) {
        ConvolutionBuilder builder(kernels_, planner_, out.map.width, out.map.view, out.order);
        if (step != 0) builder.write_bytes(out.bytes, step);
        return builder;
    }

    std::unique_ptr<Rows> finished(ConvolutionBuilder& builder, double& multiply_adds) {
        multiply_adds += builder.multiply_adds();
        return builder.finish(plan_.weights, plan_.tables);
    }

    static std::unique_ptr<Chain> chain_on(const std::string& name, const Map& grid) {
        return std::make_unique<Chain>(name, 0, grid.height, strip_rows(grid.width));
    }

    void add_rows(Chain& chain, ConvolutionBuilder& builder, const Map& grid, int lag) {
        double multiply_adds = 0;
        chain.add(finished(builder, multiply_adds), lag);
        chain.multiply_adds += multiply_adds * grid.height * grid.width;
    }

    Channels shared(int height, int width, int channels) {
        return {planner_.map(Place::SHARED, height, width, channels), plain_order(channels), {}};
    }
    // Some rows of a map, of which the rest is gone when they are there.
    Channels strip_of(int rows, int height, int width, int channels) {
        return {{planner_.strip(rows, width, channels), height, width, channels}, plain_order(channels), {}};
    }
    static std::uint32_t size(int channels) { return static_cast<std::uint32_t>(channels); }

    Artefact& artefact_;
    const Config config_;
    const Kernels& kernels_;
    Planner planner_;
    Rooms rooms_{planner_};
    const int height_, width_, threads_;
    Plan plan_;
    Channels trunk_;
    Branch branches_[BRANCHES];
    Channels halves_[BRANCHES][BRANCHES], lows_[BRANCHES][BRANCHES];  // by source and target; made when first needed
    Index work_ = 0, work_size_ = 0;
};

}  // namespace

Plan plan_network(Artefact& artefact, int height, int width, int people, int threads, const Kernels& kernels) {
    return Builder(artefact, height, width, people, threads, kernels).build();
}

}  // namespace lehrnet::native
