#include "options.h"

#include "../failure.h"

namespace lehrnet::track {
namespace {

struct Setting {
    const char* name;
    double lehrnet_tracker_options::*value;
};

constexpr Setting POSITIVE[] = {
    {"death_s", &lehrnet_tracker_options::death_s},
    {"hidden_share", &lehrnet_tracker_options::hidden_share},
    {"min_score", &lehrnet_tracker_options::min_score},
    {"keep_score", &lehrnet_tracker_options::keep_score},
    {"support_s", &lehrnet_tracker_options::support_s},
    {"match_iou", &lehrnet_tracker_options::match_iou},
    {"match_oks", &lehrnet_tracker_options::match_oks},
    {"duplicate_iou", &lehrnet_tracker_options::duplicate_iou},
    {"duplicate_oks", &lehrnet_tracker_options::duplicate_oks},
    {"match_distance", &lehrnet_tracker_options::match_distance},
    {"match_noise", &lehrnet_tracker_options::match_noise},
    {"position_noise", &lehrnet_tracker_options::position_noise},
    {"agility", &lehrnet_tracker_options::agility},
    {"size_noise", &lehrnet_tracker_options::size_noise},
    {"slowing_s", &lehrnet_tracker_options::slowing_s},
};
constexpr Setting SHARES[] = {
    {"hidden_share", &lehrnet_tracker_options::hidden_share},
    {"match_iou", &lehrnet_tracker_options::match_iou},
    {"match_oks", &lehrnet_tracker_options::match_oks},
    {"duplicate_iou", &lehrnet_tracker_options::duplicate_iou},
    {"duplicate_oks", &lehrnet_tracker_options::duplicate_oks},
    {"keep_score", &lehrnet_tracker_options::keep_score},
    {"min_score", &lehrnet_tracker_options::min_score},
};

void check_count(const char* name, std::int32_t count, std::int32_t most) {
    if (count < 1 || count > most) fail(LEHRNET_INVALID_ARGUMENT, name, " is ", count, ", expected 1 to ", most);
}

}  // namespace

lehrnet_tracker_options default_options() {
    lehrnet_tracker_options options{};
    options.struct_size = sizeof options;
    options.streams = 1;
    options.max_people = 16;
    options.death_s = 2.0;
    options.birth_s = 0.15;
    options.hidden_birth_s = 1.0;
    options.hidden_share = 0.7;
    options.min_score = 0.15;
    options.keep_score = 0.7;
    options.support_s = 0.7;
    options.match_iou = 0.3;
    options.match_oks = 0.2;
    options.duplicate_iou = 0.7;
    options.duplicate_oks = 0.85;
    options.match_distance = 3.0;
    options.match_noise = 0.15;
    options.position_noise = 0.03;
    options.agility = 1.0;
    options.size_noise = 0.25;
    options.slowing_s = 1.0;
    options.min_cutoff_hz = 1.5;
    options.beta = 4.0;
    options.speed_cutoff_hz = 2.0;
    return options;
}

void check_options(const lehrnet_tracker_options& options) {
    if (options.struct_size != sizeof options) {
        fail(LEHRNET_ABI_MISMATCH, "options.struct_size is ", options.struct_size, ", expected ", sizeof options,
             ": call lehrnet_tracker_options_init first, and build against this library's header");
    }
    check_count("streams", options.streams, MOST_STREAMS);
    check_count("max_people", options.max_people, MOST_PEOPLE);
    for (const auto& [name, value] : POSITIVE) {
        if (!(options.*value > 0)) {
            fail(LEHRNET_INVALID_ARGUMENT, name, " is ", options.*value, ", expected a number above 0");
        }
    }
    if (!(0 <= options.birth_s && options.birth_s <= options.hidden_birth_s)) {
        fail(LEHRNET_INVALID_ARGUMENT, "birth_s is ", options.birth_s, " and hidden_birth_s ", options.hidden_birth_s,
             ", expected 0 or more, and hidden_birth_s no less than birth_s");
    }
    for (const auto& [name, value] : SHARES) {
        if (options.*value > 1) fail(LEHRNET_INVALID_ARGUMENT, name, " is ", options.*value, ", expected at most 1");
    }
    if (!(options.min_cutoff_hz > 0 && options.beta >= 0 && options.speed_cutoff_hz > 0)) {
        fail(LEHRNET_INVALID_ARGUMENT, "min_cutoff_hz is ", options.min_cutoff_hz, ", beta ", options.beta,
             " and speed_cutoff_hz ", options.speed_cutoff_hz, ": expected positive cutoffs and a beta of at least 0");
    }
}

}  // namespace lehrnet::track
