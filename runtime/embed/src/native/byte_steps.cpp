#include "steps.h"
#include "tables.h"

namespace lehrnet::native {

void ByteConvolution::run_strip(const Worker& worker, int from, int to) const {
    Tables tables(worker, from, to, width, together);
    ByteSource sources[MOST_SOURCES];
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        const Input& input = inputs[i];
        sources[i] = {tables.cells<const std::uint8_t*>(input.view, input.stride), input.taps.data(),
                      static_cast<Index>(input.taps.size()), negative[i]};
    }
    const float* const* added[MOST_ADDENDS];
    for (std::size_t i = 0; i < addends.size(); ++i) added[i] = tables.addend(addends[i]);
    ByteConvolve task;
    task.cells = tables.count();
    task.sources = sources, task.source_count = static_cast<Index>(inputs.size());
    task.addends = added, task.addend_count = static_cast<Index>(addends.size());
    task.out = floats ? tables.cells<float*>(out, 1) : nullptr;
    task.bytes = steps != 0 ? tables.cells<std::uint8_t*>(bytes, 1) : nullptr;
    task.panels = reinterpret_cast<const std::int8_t*>(worker.weights + panels);
    task.start = reinterpret_cast<const std::int32_t*>(worker.weights + start);
    task.factors = worker.weights + factors, task.bias = worker.weights + bias;
    task.vectors = vectors, task.depth = depth;
    task.rectify = rectify, task.steps = steps;
    worker.kernels->convolve_bytes(task);
}

void Quantized::run(const Worker& worker, int from, int to) const {
    // Row by row: the tables hold a strip of the output's grid.
    const Index vectors = (channels + worker.kernels->lanes - 1) / worker.kernels->lanes;
    for (int row = from * stride; row < to * stride; ++row) {
        Tables tables(worker, row, row + 1, width, 1);
        const float* const* const cells = tables.cells<const float*>(in, 1);
        worker.kernels->quantize({width, cells, tables.cells<std::uint8_t*>(out, 1), vectors, steps});
    }
}

void ByteAverages::run(const Worker& worker, int from, int to) const {
    Tables tables(worker, from, to, width, 1);
    const std::uint8_t** const table = tables.cells<const std::uint8_t*>(in, 2);
    for (Index i = 0; i < tables.count(); ++i) table[i] += channel;
    worker.kernels->average_bytes({tables.count(), table, tables.cells<std::uint8_t*>(out, 1), in.cell, in.row, channels});
}

}  // namespace lehrnet::native
