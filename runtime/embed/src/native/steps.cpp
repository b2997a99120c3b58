#include "steps.h"

#include <algorithm>
#include <utility>

#include "tables.h"

namespace lehrnet::native {

Index Convolution::pointers() const {
    const Index tables = static_cast<Index>(inputs.size() + addends.size()) + outputs();
    return tables * (Index{strip} * width / together + 64);
}

void Convolution::run(const Worker& worker, int from, int to) const {
    for (int row = from; row < to; row += strip) {
        const int end = std::min(row + strip, to);
        for (const auto& rows : before) rows->run(worker, row, end);
        run_strip(worker, row, end);
    }
}

void FloatConvolution::run_strip(const Worker& worker, int from, int to) const {
    Tables tables(worker, from, to, width, together);
    Source sources[MOST_SOURCES];
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        const Input& input = inputs[i];
        sources[i] = {tables.cells<const float*>(input.view, input.stride), input.taps.data(), static_cast<Index>(input.taps.size())};
    }
    const float* const* added[MOST_ADDENDS];
    for (std::size_t i = 0; i < addends.size(); ++i) added[i] = tables.addend(addends[i]);
    Convolve task;
    task.cells = tables.count();
    task.sources = sources, task.source_count = static_cast<Index>(inputs.size());
    task.addends = added, task.addend_count = static_cast<Index>(addends.size());
    task.out = tables.cells<float*>(out, 1);
    task.panels = worker.weights + panels, task.bias = worker.weights + bias;
    task.vectors = vectors, task.depth = depth;
    task.rectify = rectify;
    worker.kernels->convolve(task);
}

void Averages::run(const Worker& worker, int from, int to) const {
    auto* const table = static_cast<const float**>(worker.tables);
    const float** const end = fill(table, worker, in, from, to, width, 1, 2);
    for (const float** each = table; each != end; ++each) *each += channel;
    float** const outputs = const_cast<float**>(end);
    fill(outputs, worker, out, from, to, width, 1, 1);
    worker.kernels->average({Index{to - from} * width, table, outputs, in.cell, in.row, channels});
}

void Crops::run(const Worker& worker, int from, int to) const {
    const Index plane = Index{out.height} * out.width;
    for (int row = from; row < to; ++row) {
        const float* colours = worker.crops + row / out.height * 3 * plane + Index{row % out.height} * out.width;
        float* cell = worker.at(out.view, row);
        for (int x = 0; x < out.width; ++x, ++colours, cell += out.view.cell) {
            cell[0] = colours[0], cell[1] = colours[plane], cell[2] = colours[2 * plane];
        }
    }
}

void Heatmaps::run(const Worker& worker, int from, int to) const {
    const Index plane = Index{height} * width;
    for (int row = from; row < to; ++row) {
        const float* cell = worker.at(in, row);
        float* heat = worker.heatmaps + row / height * joints * plane + Index{row % height} * width;
        for (int joint = 0; joint < joints; ++joint) {
            for (int x = 0; x < width; ++x) heat[joint * plane + x] = cell[x * in.cell + joint];
        }
    }
}

void Chain::add(std::unique_ptr<Rows> rows, int lag) { links_.push_back({std::move(rows), links_.empty() ? 0 : lag}); }

void Chain::run(const Worker& worker, int people, int from, int to) const {
    int done[MOST];
    int first = from, ahead = 0;
    for (std::size_t link = links_.size(); link-- > 0;) {
        done[link] = first;
        first = std::max(0, first - links_[link].lag);
        ahead += links_[link].lag;
    }
    // So far back that the first links, too, begin with no more than a strip of rows: what they fill may be a strip.
    for (int row = from - 2 * ahead; row < to; row += strip_) {
        advance(worker, links_.size() - 1, std::min(row + strip_, to), people * height_, done);
    }
}

void Chain::advance(const Worker& worker, std::size_t link, int until, int end, int (&done)[MOST]) const {
    if (link > 0) advance(worker, link - 1, std::min(until + links_[link].lag, end), end, done);
    if (done[link] < until) links_[link].rows->run(worker, done[link], until);
    done[link] = std::max(done[link], until);
}

void Attention::run(const Worker& worker, int, int from, int to) const {
    for (int piece = from; piece < to; ++piece) worker.kernels->attend(task(worker, piece / vectors(), piece % vectors()));
}

Attend Attention::task(const Worker& worker, int person, int vector) const {
    Attend task;
    task.map = worker.at(in.view, person * in.height) + vector * lanes;
    task.height = in.height, task.width = in.width;
    task.cell = in.view.cell, task.row = in.view.row;
    task.channel = channel, task.group = group;
    const float* tensor = worker.weights + weights;
    const auto next = [&](Index count) { return std::exchange(tensor, tensor + count); };
    task.gate = next(group * group), task.gate_bias = next(group);
    task.local = next(9 * group), task.local_bias = next(1);
    task.scale = next(group), task.shift = next(group);
    task.mean = next(9 * group * group), task.mean_bias = next(group);
    task.eps = *next(1);
    task.work = worker.places[static_cast<int>(Place::OWN)] + work;
    task.out_cell = out.cell, task.out_row = out.row;
    set_runs(worker, person, vector, task);
    return task;
}

void Attention::set_runs(const Worker& worker, int person, int vector, Attend& task) const {
    const Index first = vector * lanes, end = std::min<Index>(first + lanes, groups), quarter = groups / 4;
    const float* const from = worker.at(shortcut, person * in.height);
    float* const to = worker.at(out, person * in.height);
    task.run_count = 0;
    const auto add = [&](Index begin, Index stop, Index at, Index apart) {
        if (begin < stop) task.runs[task.run_count++] = {begin - first, stop - begin, from + at, to + at, apart};
    };
    add(first, std::min(end, quarter), first, quarter);
    const Index begin = std::max(first, quarter);
    add(begin, end, quarter * group + begin - quarter, groups - quarter);
}

}  // namespace lehrnet::native
