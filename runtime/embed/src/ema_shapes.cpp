#include "ema_shapes.h"

#include <cmath>
#include <locale>
#include <sstream>

namespace lehrnet {
namespace {

constexpr std::int64_t MOST_GROUPS = 1 << 20;
constexpr std::int64_t LONGEST_SIDE = 1 << 20;                 // channels, height or width
constexpr std::int64_t MOST_PEOPLE = 1 << 20;
constexpr std::int64_t MOST_CELLS = std::int64_t{1} << 40;     // of a whole map; int64_t holds 8 million times as many
constexpr std::int64_t MOST_WORKSPACE = std::int64_t{1} << 32; // floats of a group's maps with their borders

constexpr const char* NAMES[EMA_INPUTS] = {"map",        "shortcut", "gate",  "gate_bias", "local",
                                           "local_bias", "scale",    "shift", "mean",      "mean_bias"};

template <class... Parts>
std::string sentence(const Parts&... parts) {
    std::ostringstream text;
    text.imbue(std::locale::classic());
    text << "lehrnet.EMA: ";
    (text << ... << parts);
    return text.str();
}

std::string words(const InputShape& shape) {
    if (shape.rank > EMA_RANK) return "rank " + std::to_string(shape.rank);
    std::string text = "shape (";
    for (std::size_t i = 0; i < shape.rank; ++i) text += (i ? ", " : "") + std::to_string(shape.dims[i]);
    return text + ")";
}

bool same(const InputShape& left, const InputShape& right) {
    if (left.rank != right.rank || left.rank > EMA_RANK) return false;
    for (std::size_t i = 0; i < left.rank; ++i) {
        if (left.dims[i] != right.dims[i]) return false;
    }
    return true;
}

// left * right, or a number above every limit; both are at most 2^41.
std::int64_t product(std::int64_t left, std::int64_t right) {
    return left > 0 && right > INT64_MAX / 4 / left ? INT64_MAX / 4 : left * right;
}

std::string wrong_map(std::int64_t groups, const InputShape& map) {
    const auto& [people, channels, height, width] = map.dims;
    const bool inside = map.rank == EMA_RANK && people >= 0 && people <= MOST_PEOPLE && channels >= 1 &&
                        channels <= LONGEST_SIDE && height >= 1 && height <= LONGEST_SIDE && width >= 1 &&
                        width <= LONGEST_SIDE;
    if (!inside || product(product(people, channels), height * width) > MOST_CELLS) {
        return sentence("the map has ", words(map), ", expected (N, C, H, W) with C, H and W from 1 to ", LONGEST_SIDE,
                        " and at most ", MOST_CELLS, " cells: export the graph again");
    }
    if (channels % groups != 0) {
        return sentence("the map has ", channels, " channels, which do not divide into ", groups,
                        " groups: export the graph again");
    }
    if (product(2 * (channels / groups) + 1, (height + 2) * (width + 2)) > MOST_WORKSPACE) {
        return sentence("the map has ", words(map), ", and a group of it takes more work space than ", MOST_WORKSPACE,
                        " floats: take smaller crops or more groups");
    }
    return {};
}

}  // namespace

std::string wrong_attributes(std::int64_t groups, float epsilon) {
    if (groups < 1 || groups > MOST_GROUPS) {
        return sentence("groups is ", groups, ", expected 1 to ", MOST_GROUPS, ": export the graph again");
    }
    if (!(std::isfinite(epsilon) && epsilon > 0)) {
        return sentence("epsilon is ", epsilon, ", expected a finite number above 0: export the graph again");
    }
    return {};
}

std::string wrong_inputs(std::int64_t groups, const InputShapes& inputs) {
    for (std::size_t i = 0; i < EMA_INPUTS; ++i) {
        if (!inputs[i].is_float) return sentence("input '", NAMES[i], "' is not of float: export the graph again");
    }
    const InputShape& map = inputs[MAP];
    if (std::string fault = wrong_map(groups, map); !fault.empty()) return fault;
    const std::int64_t c = map.dims[1] / groups;
    const InputShape each = {true, 1, {c}}, one = {true, 1, {1}};
    const InputShape wanted[EMA_INPUTS] = {map, map, {true, 4, {c, c, 1, 1}}, each, {true, 4, {c, 1, 3, 3}}, one,
                                           each, each, {true, 4, {c, c, 3, 3}}, each};
    for (std::size_t i = 0; i < EMA_INPUTS; ++i) {
        if (same(inputs[i], wanted[i])) continue;
        return sentence("input '", NAMES[i], "' has ", words(inputs[i]), ", expected ", words(wanted[i]), " for a map of ",
                        words(map), " in ", groups, " groups: export the graph again");
    }
    return {};
}

}  // namespace lehrnet
