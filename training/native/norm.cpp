// BatchNorm for training, with the sum and the ReLU after it: rows (cells of a batch) of channels-last maps.
//
// A chunk of rows stays in cache while its mean and its deviations are summed; chunks are joined in double, in order, so
// that sums depend neither on the threads nor on cancelling squares.
#include <vector>

#include "lanes.h"

namespace lehrnet {
namespace {

struct Job {
    Index rows, channels;
    double eps;
    std::int32_t relu, threads;
};

constexpr Index CHUNK_BYTES = 65536;  // a share of a second-level cache
constexpr Index MOST_CHUNKS = 4096;

// How rows are divided: by their size alone.
struct Chunks {
    Index rows, each, count;

    explicit Chunks(const Job& j) : rows(j.rows) {
        each = CHUNK_BYTES / 4 / j.channels + 1;
        if ((rows + each - 1) / each > MOST_CHUNKS) each = (rows + MOST_CHUNKS - 1) / MOST_CHUNKS;
        count = (rows + each - 1) / each;
    }
    Index begin(Index chunk) const { return chunk * each; }
    Index end(Index chunk) const { return (chunk + 1) * each < rows ? (chunk + 1) * each : rows; }
};

// Few rows at a time where they are wide: strips of many wide rows would fall into the same few lines of a cache.
template <class Work>
inline void blocks(Index begin, Index end, Index channels, const Work& work) {
    const Index each = channels > 64 ? 8 : end - begin;
    for (Index r = begin; r < end; r += each) work(r, r + each < end ? r + each : end);
}

// y = x * factor + constant, written once so that forward and backward agree on where ReLU cuts.
template <class V>
inline V line(V x, V factor, V constant) {
    return x * factor + constant;
}

// Mean and sum of squared deviations of each chunk's channels.
template <class S, class T>
void chunk_moments(const Job& j, const S* x, Index begin, Index end, T* means, T* squares) {
    const T per_row = 1 / static_cast<T>(end - begin);
    strips<T>(j.channels, [&](Index c, auto width) {
        using Part = Strip<T, decltype(width)::value>;
        Part mean = {}, square = {};
        for (Index r = begin; r < end; ++r) {
            const Part row = Part::at(x + r * j.channels + c);
            for (int k = 0; k < Part::COUNT; ++k) mean.of[k] += row.of[k];
        }
        for (int k = 0; k < Part::COUNT; ++k) mean.of[k] *= per_row;
        for (Index r = begin; r < end; ++r) {
            const Part row = Part::at(x + r * j.channels + c);
            for (int k = 0; k < Part::COUNT; ++k) {
                const Vector<T> off = row.of[k] - mean.of[k];
                square.of[k] += off * off;
            }
        }
        mean.to(means + c), square.to(squares + c);
    });
}

// Mean and variance of every channel; `moments`: 2 * channels.
template <class S, class T>
void find_moments(const Job& j, const S* x, T* mean, T* variance) {
    const Chunks chunks(j);
    std::vector<T> parts(2 * chunks.count * j.channels);
#pragma omp parallel for schedule(static) num_threads(j.threads)
    for (Index n = 0; n < chunks.count; ++n) {
        T* const part = parts.data() + 2 * n * j.channels;
        chunk_moments(j, x, chunks.begin(n), chunks.end(n), part, part + j.channels);
    }
    std::vector<double> means(j.channels), squares(j.channels);
    for (Index n = 0; n < chunks.count; ++n) {  // Chan's way to join
        const T* const part = parts.data() + 2 * n * j.channels;
        const double before = static_cast<double>(chunks.begin(n)), more = static_cast<double>(chunks.end(n)) - before;
        for (Index c = 0; c < j.channels; ++c) {
            const double off = part[c] - means[c];
            means[c] += off * more / (before + more);
            squares[c] += part[j.channels + c] + off * off * before * more / (before + more);
        }
    }
    for (Index c = 0; c < j.channels; ++c) {
        mean[c] = static_cast<T>(means[c]);
        variance[c] = static_cast<T>(squares[c] / static_cast<double>(j.rows));
    }
}

template <class T>
struct Lines {
    std::vector<T> factor, constant, deviation;  // deviation: 1 / sqrt(variance + eps)

    Lines(const Job& j, const T* scale, const T* shift, const T* mean, const T* variance)
        : factor(j.channels), constant(j.channels), deviation(j.channels) {
        for (Index c = 0; c < j.channels; ++c) {
            deviation[c] = 1 / std::sqrt(variance[c] + static_cast<T>(j.eps));
            factor[c] = scale[c] * deviation[c];
            constant[c] = shift[c] - mean[c] * factor[c];
        }
    }
};

template <class S, class T, bool SUM, bool RELU>
inline void apply_rows(const Job& j, const Lines<T>& lines, const S* x, const S* shortcut, Index begin, Index end,
                       S* __restrict out) {
    strips<T>(j.channels, [&](Index c, auto width) {
        using Part = Strip<T, decltype(width)::value>;
        const Part factor = Part::at(lines.factor.data() + c), constant = Part::at(lines.constant.data() + c);
        for (Index r = begin; r < end; ++r) {
            const Index at = r * j.channels + c;
            Part row = Part::at(x + at), other = {};
            if (SUM) other = Part::at(shortcut + at);
            for (int k = 0; k < Part::COUNT; ++k) {
                Vector<T>& value = row.of[k];
                value = line(value, factor.of[k], constant.of[k]);
                if (SUM) value += other.of[k];
                if (RELU) value = value < 0 ? Vector<T>{} : value;  // NaN stays
            }
            row.to(out + at);
        }
    });
}

template <class S, class T, bool SUM, bool RELU>
void apply(const Job& j, const Lines<T>& lines, const S* x, const S* shortcut, S* out) {
    const Chunks chunks(j);
#pragma omp parallel for schedule(static) num_threads(j.threads)
    for (Index n = 0; n < chunks.count; ++n) {
        blocks(chunks.begin(n), chunks.end(n), j.channels, [&](Index begin, Index end) {
            apply_rows<S, T, SUM, RELU>(j, lines, x, shortcut, begin, end, out);
        });
    }
}

template <class S, class T>
void forward(const Job& j, const T* scale, const T* shift, T* mean, T* variance, const S* x, const S* shortcut, S* out) {
    find_moments(j, x, mean, variance);
    const Lines<T> lines(j, scale, shift, mean, variance);
    if (shortcut && j.relu) return apply<S, T, true, true>(j, lines, x, shortcut, out);
    if (shortcut) return apply<S, T, true, false>(j, lines, x, shortcut, out);
    if (j.relu) return apply<S, T, false, true>(j, lines, x, shortcut, out);
    apply<S, T, false, false>(j, lines, x, shortcut, out);
}

// Sums of the gradient, and of the gradient times x's deviation, of some rows; keeps the shortcut's gradient. Where ReLU
// cut is seen from the output of a sum; else from x's own line.
template <class S, class T, bool SUM, bool RELU>
inline void add_sums(const Job& j, const Lines<T>& lines, const T* mean, const S* x, const S* out, const S* grad,
                     S* __restrict kept, Index begin, Index end, T* sums) {
    strips<T>(j.channels, [&](Index c, auto width) {
        using Part = Strip<T, decltype(width)::value>;
        const Part factor = Part::at(lines.factor.data() + c), constant = Part::at(lines.constant.data() + c);
        const Part middle = Part::at(mean + c);
        Part total = Part::at(sums + c), product = Part::at(sums + j.channels + c);
        for (Index r = begin; r < end; ++r) {
            const Index at = r * j.channels + c;
            const Part row = Part::at(x + at);
            Part own = Part::at(grad + at), seen = {};
            if (SUM && RELU) seen = Part::at(out + at);
            for (int k = 0; k < Part::COUNT; ++k) {
                if (RELU && !SUM) seen.of[k] = line(row.of[k], factor.of[k], constant.of[k]);
                if (RELU) own.of[k] = seen.of[k] <= 0 ? Vector<T>{} : own.of[k];
                total.of[k] += own.of[k];
                product.of[k] += own.of[k] * (row.of[k] - middle.of[k]);
            }
            if (SUM) own.to(kept + at);
        }
        total.to(sums + c), product.to(sums + j.channels + c);
    });
}

template <class S, class T, bool SUM, bool RELU>
inline void spread_rows(const Job& j, const Lines<T>& lines, const T* slope, const T* offset, const S* x, const S* grad,
                        const S* kept, Index begin, Index end, S* __restrict grad_x) {
    strips<T>(j.channels, [&](Index c, auto width) {
        using Part = Strip<T, decltype(width)::value>;
        const Part factor = Part::at(lines.factor.data() + c), constant = Part::at(lines.constant.data() + c);
        const Part by_x = Part::at(slope + c), rest = Part::at(offset + c);
        for (Index r = begin; r < end; ++r) {
            const Index at = r * j.channels + c;
            const Part row = Part::at(x + at);
            Part own = Part::at((SUM ? kept : grad) + at);
            for (int k = 0; k < Part::COUNT; ++k) {
                Vector<T>& value = own.of[k];
                if (RELU && !SUM) value = line(row.of[k], factor.of[k], constant.of[k]) <= 0 ? Vector<T>{} : value;
                value = factor.of[k] * value + (by_x.of[k] * row.of[k] + rest.of[k]);
            }
            own.to(grad_x + at);
        }
    });
}

template <class S, class T, bool SUM, bool RELU>
void spread(const Job& j, const Lines<T>& lines, const T* slope, const T* offset, const S* x, const S* grad, const S* kept,
            S* grad_x) {
    const Chunks chunks(j);
#pragma omp parallel for schedule(static) num_threads(j.threads)
    for (Index n = 0; n < chunks.count; ++n) {
        blocks(chunks.begin(n), chunks.end(n), j.channels, [&](Index begin, Index end) {
            spread_rows<S, T, SUM, RELU>(j, lines, slope, offset, x, grad, kept, begin, end, grad_x);
        });
    }
}

template <class S, class T, bool SUM, bool RELU>
void backward_as(const Job& j, const T* scale, const T* shift, const T* mean, const T* variance, const S* x, const S* out,
                 const S* grad, S* grad_x, S* kept, T* grad_scale, T* grad_shift) {
    const Lines<T> lines(j, scale, shift, mean, variance);
    const Chunks chunks(j);
    std::vector<T> parts(2 * chunks.count * j.channels), slope(j.channels), offset(j.channels);
#pragma omp parallel for schedule(static) num_threads(j.threads)
    for (Index n = 0; n < chunks.count; ++n) {
        blocks(chunks.begin(n), chunks.end(n), j.channels, [&](Index begin, Index end) {
            T* const sums = parts.data() + 2 * n * j.channels;
            add_sums<S, T, SUM, RELU>(j, lines, mean, x, out, grad, kept, begin, end, sums);
        });
    }
    std::vector<double> sums(2 * j.channels);
    for (Index n = 0; n < chunks.count; ++n) {
        for (Index c = 0; c < 2 * j.channels; ++c) sums[c] += parts[2 * n * j.channels + c];
    }
    for (Index c = 0; c < j.channels; ++c) {
        const double total = sums[c], product = sums[j.channels + c], deviation = lines.deviation[c];
        const double rows = static_cast<double>(j.rows), by_x = -lines.factor[c] * deviation * deviation * product / rows;
        grad_shift[c] = static_cast<T>(total);
        grad_scale[c] = static_cast<T>(product * deviation);
        slope[c] = static_cast<T>(by_x);
        offset[c] = static_cast<T>(-lines.factor[c] * total / rows - by_x * mean[c]);
    }
    spread<S, T, SUM, RELU>(j, lines, slope.data(), offset.data(), x, grad, kept, grad_x);
}

template <class S, class T>
void backward(const Job& j, const T* scale, const T* shift, const T* mean, const T* variance, const void* x_, const void* out_,
              const void* grad_, void* grad_x_, void* kept_, T* grad_scale, T* grad_shift) {
    const S *const x = static_cast<const S*>(x_), *const out = static_cast<const S*>(out_),
            *const grad = static_cast<const S*>(grad_);
    S *const grad_x = static_cast<S*>(grad_x_), *const kept = static_cast<S*>(kept_);
    const auto run = kept ? (j.relu ? backward_as<S, T, true, true> : backward_as<S, T, true, false>)
                          : (j.relu ? backward_as<S, T, false, true> : backward_as<S, T, false, false>);
    run(j, scale, shift, mean, variance, x, out, grad, grad_x, kept, grad_scale, grad_shift);
}

template <class S, class T>
void forward_of(const Job& j, const void* const* values, void* const* moments, const void* x, const void* shortcut, void* out) {
    forward<S, T>(j, static_cast<const T*>(values[0]), static_cast<const T*>(values[1]), static_cast<T*>(moments[0]),
                  static_cast<T*>(moments[1]), static_cast<const S*>(x), static_cast<const S*>(shortcut),
                  static_cast<S*>(out));
}

template <class S, class T>
void backward_of(const Job& j, const void* const* values, const void* x, const void* out, const void* grad, void* grad_x,
                 void* kept, void* const* grads) {
    backward<S, T>(j, static_cast<const T*>(values[0]), static_cast<const T*>(values[1]), static_cast<const T*>(values[2]),
                   static_cast<const T*>(values[3]), x, out, grad, grad_x, kept, static_cast<T*>(grads[0]),
                   static_cast<T*>(grads[1]));
}

}  // namespace
}  // namespace lehrnet

// affine: scale, shift; moments, written: mean, biased variance. In double where the maps are, else in float.
// shortcut may be null.
LEHRNET_EXPORT void lehrnet_norm_forward(const lehrnet::Job* job, std::int32_t type, const void* const* affine,
                                         void* const* moments, const void* x, const void* shortcut, void* out) {
    using namespace lehrnet;
    if (type == FLOAT32) forward_of<float, float>(*job, affine, moments, x, shortcut, out);
    if (type == BFLOAT16) forward_of<BFloat16, float>(*job, affine, moments, x, shortcut, out);
    if (type == FLOAT64) forward_of<double, double>(*job, affine, moments, x, shortcut, out);
}

// values: scale, shift, mean, variance; grads, written: of scale and shift. grad_shortcut is null where there was none, and
// out is read only where there was one.
LEHRNET_EXPORT void lehrnet_norm_backward(const lehrnet::Job* job, std::int32_t type, const void* const* values,
                                          const void* x, const void* out, const void* grad, void* grad_x,
                                          void* grad_shortcut, void* const* grads) {
    using namespace lehrnet;
    if (type == FLOAT32) backward_of<float, float>(*job, values, x, out, grad, grad_x, grad_shortcut, grads);
    if (type == BFLOAT16) backward_of<BFloat16, float>(*job, values, x, out, grad, grad_x, grad_shortcut, grads);
    if (type == FLOAT64) backward_of<double, double>(*job, values, x, out, grad, grad_x, grad_shortcut, grads);
}
