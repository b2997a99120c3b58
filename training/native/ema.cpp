// EMA for training (paper, section 2.3; model/ema.py is its definition): forward, and backward in one pass a group.
//
// Groups share their weights and know nothing of each other. So a vector holds one value of as many groups, weights are
// scalars, and any grid and any width of a group fill the vectors alike. What backward needs is computed again from x.
//
// Job and Place come by value: a vector's store may change what a reference leads to, and would have it read again.
#include "lanes.h"

namespace lehrnet {
namespace {

constexpr Index CHUNKS = 32;  // of a batch, whatever the threads: sums do not depend on how many there are

struct Job {
    Index images, groups, width, height, columns;  // width: channels of a group
    double eps;
    std::int32_t channels_last, threads;

    Index cells() const { return height * columns; }
    Index pitch() const { return columns + 2; }
    Index padded() const { return (height + 2) * pitch(); }
    template <class T>
    Index blocks() const { return (groups + LANES<T> - 1) / LANES<T>; }
};

template <class T>
struct Weights {
    const T *gate, *gate_bias, *conv, *conv_bias, *scale, *shift;
};

// The constants of the 3x3 branch: a softmax of the norm's bias weighs the conv's outputs.
template <class T>
struct Local {
    Memory<T> memory;
    T *share, *kernel, bias = 0;

    Local(const Weights<T>& w, Index width) : memory(10 * width) {
        share = reinterpret_cast<T*>(memory.take(width));
        kernel = reinterpret_cast<T*>(memory.take(9 * width));
        T highest = w.shift[0], total = 0;
        for (Index o = 1; o < width; ++o) highest = w.shift[o] > highest ? w.shift[o] : highest;
        for (Index o = 0; o < width; ++o) total += share[o] = std::exp(w.shift[o] - highest);
        for (Index o = 0; o < width; ++o) {
            share[o] /= total;
            bias += share[o] * w.conv_bias[o];
            for (Index k = 0; k < 9 * width; ++k) kernel[k] += share[o] * w.conv[o * 9 * width + k];
        }
    }
};

// What is known of a block of groups while it lies in cache. (c, ...) arrays are channel by channel.
template <class T>
struct Block {
    using V = Vector<T>;
    Memory<T> memory;
    V *x, *normed, *rows, *columns, *row_gates, *column_gates, *windows, *share, *scaled, *weights;
    V *grad, *logits, *grad_rows, *grad_columns;  // backward's

    explicit Block(const Job& j)
        : memory(j.width * (j.padded() + 2 * j.cells() + 3 * (j.height + j.columns) + 11) + j.cells() + j.padded()) {
        const Index c = j.width;
        x = memory.take(c * j.padded());
        normed = memory.take(c * j.cells());
        rows = memory.take(c * j.height);
        columns = memory.take(c * j.columns);
        row_gates = memory.take(c * j.height);
        column_gates = memory.take(c * j.columns);
        windows = memory.take(9 * c);
        share = memory.take(c);
        scaled = memory.take(c);
        weights = memory.take(j.cells());
        grad = memory.take(c * j.cells());
        logits = memory.take(j.padded());
        grad_rows = memory.take(c * j.height);
        grad_columns = memory.take(c * j.columns);
    }
};

// One block of groups of an image in a tensor (N, C, H, W) of either layout.
template <class S, class T>
struct Place {
    Index at, channel, cell, width;
    int lanes;

    Place(const Job& j, Index task) : width(j.width) {
        const Index image = task / j.blocks<T>(), group = task % j.blocks<T>() * LANES<T>, all = j.groups * j.width;
        lanes = static_cast<int>(j.groups - group < LANES<T> ? j.groups - group : LANES<T>);
        channel = j.channels_last ? 1 : j.cells();
        cell = j.channels_last ? all : 1;
        at = image * all * j.cells() + group * j.width * channel;
    }

    Vector<T> read(const S* tensor, Index of_group, Index p) const {
        const S* const from = tensor + at + of_group * channel + p * cell;
        const Index step = width * channel;
        if (lanes == LANES<T> && step == 1) return lehrnet::read<T>(from);
        alignas(VECTOR_BYTES) S values[LANES<T>] = {};
        for (int l = 0; l < lanes; ++l) values[l] = from[l * step];
        return lehrnet::read<T>(values);
    }

    void write(S* tensor, Index of_group, Index p, Vector<T> vector) const {
        S* const to = tensor + at + of_group * channel + p * cell;
        const Index step = width * channel;
        if (lanes == LANES<T> && step == 1) return lehrnet::write<LANES<T>>(vector, to);
        alignas(VECTOR_BYTES) S values[LANES<T>];
        lehrnet::write<LANES<T>>(vector, values);
        for (int l = 0; l < lanes; ++l) to[l * step] = values[l];
    }
};

// The map within its border of zeros, with the means of its rows and columns and its nine window sums.
template <class S, class T>
void load(const Job j, const Place<S, T> place, const S* tensor, Block<T>& b) {
    using V = Vector<T>;
    const T in_row = static_cast<T>(j.columns), in_column = static_cast<T>(j.height);
    for (Index i = 0; i < j.width; ++i) {
        V *const x = b.x + i * j.padded() + j.pitch() + 1, *const rows = b.rows + i * j.height;
        V *const columns = b.columns + i * j.columns, *const windows = b.windows + 9 * i;
        for (Index z = 0; z < j.columns; ++z) columns[z] = V{};
        V total = {};
        for (Index y = 0; y < j.height; ++y) {
            V sum = {};
            for (Index z = 0; z < j.columns; ++z) {
                const V value = place.read(tensor, i, y * j.columns + z);
                x[y * j.pitch() + z] = value;
                columns[z] += value;
                sum += value;
            }
            rows[y] = sum / in_row;
            total += sum;
        }
        for (Index z = 0; z < j.columns; ++z) columns[z] /= in_column;
        for (int k = 0; k < 9; ++k) {  // each tap sees all cells but an edge row and column
            const int ky = k / 3, kx = k % 3;
            const Index y = ky == 0 ? j.height - 1 : 0, z = kx == 0 ? j.columns - 1 : 0;
            windows[k] = total;
            if (ky != 1) windows[k] -= rows[y] * in_row;
            if (kx != 1) windows[k] -= columns[z] * in_column;
            if (ky != 1 && kx != 1) windows[k] += x[y * j.pitch() + z];
        }
    }
}

// sigmoid(bias + gate * means) of every row, or of every column.
template <class T>
void gate(const Job j, const Weights<T>& w, const Vector<T>* means, Index lines, Vector<T>* gates) {
    for (Index o = 0; o < j.width; ++o) {
        for (Index at = 0; at < lines; ++at) {
            Vector<T> sum = Vector<T>{} + w.gate_bias[o];
            for (Index i = 0; i < j.width; ++i) sum += w.gate[o * j.width + i] * means[i * lines + at];
            gates[o * lines + at] = sigmoid(sum);
        }
    }
}

// softmax over the group's channels of the 3x3 conv's spatial mean.
template <class T>
void soften(const Job j, const Weights<T>& w, Block<T>& b) {
    using V = Vector<T>;
    const T per_cell = 1 / static_cast<T>(j.cells());
    V highest = {}, total = {};
    for (Index o = 0; o < j.width; ++o) {
        V sum = {};
        for (Index k = 0; k < 9 * j.width; ++k) sum += w.conv[o * 9 * j.width + k] * b.windows[k];
        b.share[o] = sum * per_cell + w.conv_bias[o];
        if (o == 0) highest = b.share[o];
        highest = highest > b.share[o] ? highest : b.share[o];
    }
    for (Index o = 0; o < j.width; ++o) total += b.share[o] = exp_of(b.share[o] - highest);
    for (Index o = 0; o < j.width; ++o) b.share[o] /= total;
}

// normed: the gated map of one channel, with mean 0 and variance 1; scaled: one over its standard deviation.
template <class T>
void normalize(const Job j, Index i, Block<T>& b) {
    using V = Vector<T>;
    const V *const x = b.x + i * j.padded() + j.pitch() + 1, *const columns = b.column_gates + i * j.columns;
    V *const normed = b.normed + i * j.cells(), sum = {}, squares = {};
    for (Index y = 0; y < j.height; ++y) {
        const V row = b.row_gates[i * j.height + y];
        for (Index z = 0; z < j.columns; ++z) {
            const V value = x[y * j.pitch() + z] * row * columns[z];
            normed[y * j.columns + z] = value;
            sum += value;
        }
    }
    const V mean = sum / static_cast<T>(j.cells());
    for (Index p = 0; p < j.cells(); ++p) {
        normed[p] -= mean;
        squares += normed[p] * normed[p];
    }
    const V scaled = b.scaled[i] = 1 / sqrt_of<T>(squares / static_cast<T>(j.cells()) + static_cast<T>(j.eps));
    for (Index p = 0; p < j.cells(); ++p) normed[p] *= scaled;
}

// All that lies between x and the weights of its cells.
template <class T>
void attend(const Job j, const Weights<T>& w, const Local<T>& local, Block<T>& b) {
    using V = Vector<T>;
    gate(j, w, b.rows, j.height, b.row_gates);
    gate(j, w, b.columns, j.columns, b.column_gates);
    soften(j, w, b);
    V* const weights = b.weights;
    for (Index p = 0; p < j.cells(); ++p) weights[p] = V{} + local.bias;
    for (Index i = 0; i < j.width; ++i) {
        normalize(j, i, b);
        const V factor = b.share[i] * w.scale[i], constant = b.share[i] * w.shift[i];
        const T* const k = local.kernel + 9 * i;
        for (Index y = 0; y < j.height; ++y) {
            const V *const above = b.x + i * j.padded() + y * j.pitch(), *const here = above + j.pitch(),
                           *const below = here + j.pitch(), *const normed = b.normed + i * j.cells() + y * j.columns;
            V* const logits = weights + y * j.columns;
            for (Index z = 0; z < j.columns; ++z) {
                const V upper = k[0] * above[z] + k[1] * above[z + 1] + k[2] * above[z + 2];
                const V middle = k[3] * here[z] + k[4] * here[z + 1] + k[5] * here[z + 2];
                const V lower = k[6] * below[z] + k[7] * below[z + 1] + k[8] * below[z + 2];
                logits[z] += constant + factor * normed[z] + upper + middle + lower;
            }
        }
    }
    for (Index p = 0; p < j.cells(); ++p) weights[p] = sigmoid(weights[p]);
}

// One channel weighed; with a shortcut, the sum's positive part.
template <class S, class T>
void store(const Job j, const Place<S, T> place, Index i, const Block<T>& b, const S* shortcut, S* out) {
    for (Index y = 0; y < j.height; ++y) {
        const Vector<T> *const x = b.x + i * j.padded() + (y + 1) * j.pitch() + 1, *const weights = b.weights;
        for (Index z = 0; z < j.columns; ++z) {
            const Index p = y * j.columns + z;
            Vector<T> value = x[z] * weights[p];
            if (shortcut) {
                value += place.read(shortcut, i, p);
                value = value < 0 ? Vector<T>{} : value;  // NaN stays
            }
            place.write(out, i, p, value);
        }
    }
}

template <class S, class T>
void forward(const Job j, const Weights<T>& w, const S* x, const S* shortcut, S* out) {
    const Local<T> local(w, j.width);
    const Index tasks = j.images * j.blocks<T>();
#pragma omp parallel for schedule(static) num_threads(j.threads)
    for (Index chunk = 0; chunk < CHUNKS; ++chunk) {
        if (chunk * tasks / CHUNKS == (chunk + 1) * tasks / CHUNKS) continue;
        Block<T> b(j);
        for (Index task = chunk * tasks / CHUNKS; task < (chunk + 1) * tasks / CHUNKS; ++task) {
            const Place<S, T> place(j, task);
            load(j, place, x, b);
            attend(j, w, local, b);
            for (Index i = 0; i < j.width; ++i) store(j, place, i, b, shortcut, out);
        }
    }
}

#include "ema_backward.inc"

template <class S, class T>
void dispatch(const Job j, const T* const* weights, const void* x, const void* shortcut, void* out) {
    const Weights<T> w{weights[0], weights[1], weights[2], weights[3], weights[4], weights[5]};
    forward<S, T>(j, w, static_cast<const S*>(x), static_cast<const S*>(shortcut), static_cast<S*>(out));
}

template <class S, class T>
void dispatch_backward(const Job j, const T* const* weights, const void* x, const void* out, const void* grad,
                       void* grad_x, void* grad_shortcut, T* const* grad_weights) {
    const Weights<T> w{weights[0], weights[1], weights[2], weights[3], weights[4], weights[5]};
    backward<S, T>(j, w, static_cast<const S*>(x), static_cast<const S*>(out), static_cast<const S*>(grad),
                   static_cast<S*>(grad_x), static_cast<S*>(grad_shortcut), grad_weights);
}

}  // namespace
}  // namespace lehrnet

using lehrnet::Job;

// weights: gate, its bias, conv, its bias, the norm's scale and shift, each contiguous, in double where the maps are, else
// in float. With a shortcut, ReLU of the sum comes out; it may be null. job is as fused_ema.py's Job lays it out.
LEHRNET_EXPORT void lehrnet_ema_forward(const Job* job, std::int32_t type, const void* const* weights, const void* x,
                                        const void* shortcut, void* out) {
    using namespace lehrnet;
    const auto floats = reinterpret_cast<const float* const*>(weights);
    if (type == FLOAT32) dispatch<float, float>(*job, floats, x, shortcut, out);
    if (type == BFLOAT16) dispatch<BFloat16, float>(*job, floats, x, shortcut, out);
    if (type == FLOAT64) dispatch<double, double>(*job, reinterpret_cast<const double* const*>(weights), x, shortcut, out);
}

// out and grad_shortcut are null where there was no shortcut. grad_weights are in the order of weights.
LEHRNET_EXPORT void lehrnet_ema_backward(const Job* job, std::int32_t type, const void* const* weights, const void* x,
                                         const void* out, const void* grad, void* grad_x, void* grad_shortcut,
                                         void* const* grad_weights) {
    using namespace lehrnet;
    const auto floats = reinterpret_cast<const float* const*>(weights);
    const auto grads = reinterpret_cast<float* const*>(grad_weights);
    if (type == FLOAT32) dispatch_backward<float, float>(*job, floats, x, out, grad, grad_x, grad_shortcut, grads);
    if (type == BFLOAT16) dispatch_backward<BFloat16, float>(*job, floats, x, out, grad, grad_x, grad_shortcut, grads);
    if (type == FLOAT64) {
        dispatch_backward<double, double>(*job, reinterpret_cast<const double* const*>(weights), x, out, grad, grad_x,
                                          grad_shortcut, reinterpret_cast<double* const*>(grad_weights));
    }
}
