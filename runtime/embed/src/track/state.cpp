#include "state.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "../failure.h"
#include "options.h"

namespace lehrnet::track {
namespace {

// Ranks of boxes and poses: of two that are alike, the higher one stays. SECOND is a track's other box.
constexpr double VISIBLE = 2, DETECTION = 1, MISSING = 0, SECOND = -1;
// Taken from the similarity with a track that was not seen in the last frame, with one that has no identity yet, and of a
// pose that no detection supports.
constexpr double LOST = 0.1, UNKNOWN = 0.2, UNSUPPORTED = 0.1;
constexpr double NEVER = -std::numeric_limits<double>::infinity();
constexpr double FARTHEST = 1e7;  // px: no image is as large, and a float still tells pixels apart

bool is_near(const Box& box) {
    const auto near = [](double side) { return std::abs(side) <= FARTHEST; };  // not NaN either
    return near(box.x1) && near(box.y1) && near(box.x2) && near(box.y2);
}

}  // namespace

Workspace::Workspace(const lehrnet_tracker_options& options) {
    const auto people = static_cast<std::size_t>(options.max_people), tracks = (MOST_TRACKS + 1) * people;
    alike.reserve(MOST_DETECTIONS * tracks);
    for (Matrix* each : {&by_joints, &by_boxes, &distances}) each->reserve(people * tracks);
    for (std::vector<Box>* each : {&boxes, &this->people}) each->reserve(MOST_DETECTIONS + tracks);
    for (std::vector<double>* each : {&worth, &rank}) each->reserve(MOST_DETECTIONS + tracks);
    for (Rows* each : {&order, &kept, &owners}) each->reserve(MOST_DETECTIONS + tracks);
    supported.reserve(tracks);
    pairs.reserve(std::min(MOST_DETECTIONS, tracks));
}

TrackState::TrackState(const std::vector<double>& sigmas, const lehrnet_tracker_options& options, Workspace& work)
    : sigmas_(sigmas), options_(options), work_(work) {
    const auto people = static_cast<std::size_t>(options.max_people), tracks = (MOST_TRACKS + 1) * people;
    memory_.assign(tracks, Person(sigmas.size()));
    people_.reserve(tracks);
    free_.reserve(tracks);
    reported_.reserve(people);
    proposals_.boxes.reserve(people);
    proposals_.owners.reserve(people);
    proposals_.detected.reserve(people);
    proposals_.second.reserve(people);
    reset();
}

void TrackState::reset() {
    people_.clear();
    free_.clear();
    reported_.clear();
    for (Person& person : memory_) free_.push_back(&person);
    started_ = first_ = detecting_ = false;
    next_ = 1;
}

void TrackState::check_time(double time_s) const {
    if (!std::isfinite(time_s)) fail(LEHRNET_INVALID_ARGUMENT, "a frame's time is ", time_s, ", expected seconds");
    if (!started_ || time_s >= time_s_) return;
    char times[128];
    std::snprintf(times, sizeof times, "a frame at %.3f s follows one at %.3f s", time_s, time_s_);
    fail(LEHRNET_INVALID_ARGUMENT, times, "; time must not run backwards: give the frames in order, or reset the tracker "
         "where the stream starts again");
}

const Proposals& TrackState::propose(double time_s, const Detections* detections) {
    advance(time_s);
    detecting_ = detections != nullptr;
    work_.boxes.clear();
    work_.worth.clear();
    if (detections) {
        nms(detections->boxes, detections->scores, options_.duplicate_iou, work_.order, work_.kept);
        for (const std::size_t row : work_.kept) {
            work_.boxes.push_back(detections->boxes[row]);
            work_.worth.push_back(detections->scores[row]);
        }
    }
    own();
    choose();
    return proposals_;
}

// Everybody to where they are expected; whoever is expected beyond all images is forgotten.
void TrackState::advance(double time_s) {
    const double seconds = started_ ? time_s - time_s_ : 0;
    first_ = !started_;
    started_ = true;
    time_s_ = time_s;
    for (std::size_t row = 0; row < people_.size();) {
        people_[row]->advance(seconds, options_);
        if (is_near(people_[row]->box)) ++row;
        else forget(row);
    }
}

// The track that each detection belongs to, or NOBODY.
void TrackState::own() {
    const std::vector<Box>& boxes = work_.boxes;
    work_.owners.assign(boxes.size(), NOBODY);
    work_.alike.resize(boxes.size(), people_.size());
    for (std::size_t row = 0; row < boxes.size(); ++row) {
        for (std::size_t track = 0; track < people_.size(); ++track) {
            const double alike = iou(boxes[row], people_[track]->box);
            work_.alike.at(row, track) = alike >= options_.match_iou ? alike - doubt(*people_[track]) : NEVER;
        }
    }
    work_.pairs.clear();
    match_greedily(work_.alike, work_.pairs);
    for (const auto& [row, track] : work_.pairs) work_.owners[row] = track;
}

// What is taken from the similarity with a track: tracks that were just seen are believed first.
double TrackState::doubt(const Person& person) const { return person.sure() ? 0 : person.identity ? LOST : UNKNOWN; }

double TrackState::rank_of(std::size_t owner, bool detected, bool second) const {
    if (second) return SECOND;
    return owner != NOBODY && people_[owner]->sure() ? VISIBLE : detected ? DETECTION : MISSING;
}

// Detections and the boxes of tracks, without duplicates, at most max_people.
//
// A track whose detection differs much from what was expected has both boxes looked at: detectors take two people who
// embrace for one.
void TrackState::choose() {
    const std::size_t given = work_.boxes.size();
    work_.supported.assign(people_.size(), 0);
    for (const std::size_t owner : work_.owners) {
        if (owner != NOBODY) work_.supported[owner] = 1;
    }
    work_.rank.clear();
    for (std::size_t row = 0; row < given; ++row) {
        work_.rank.push_back(rank_of(work_.owners[row], true, false) + std::clamp(work_.worth[row], 0.0, 1.0) / 2);
    }
    for (std::size_t track = 0; track < people_.size(); ++track) {
        work_.boxes.push_back(people_[track]->box);
        work_.owners.push_back(track);
        work_.rank.push_back(rank_of(track, work_.supported[track], work_.supported[track]));
    }
    nms(work_.boxes, work_.rank, options_.duplicate_iou, work_.order, work_.kept);
    work_.kept.resize(std::min(work_.kept.size(), static_cast<std::size_t>(options_.max_people)));
    proposals_.boxes.clear();
    proposals_.owners.clear();
    proposals_.detected.clear();
    proposals_.second.clear();
    for (const std::size_t row : work_.kept) {
        const bool second = row >= given && work_.supported[row - given];
        proposals_.boxes.push_back(work_.boxes[row]);
        proposals_.owners.push_back(work_.owners[row]);
        proposals_.detected.push_back(row < given || second);
        proposals_.second.push_back(second);
    }
}

void TrackState::accept(const Point* points) {
    drop_duplicates(points);
    match(points);
    for (Person* person : people_) person->visible = false;
    for (const auto& [row, track] : work_.pairs) {
        const std::size_t place = work_.kept[row];
        people_[track]->take(pose(points, place), time_s_, proposals_.detected[place], options_);
        people_[track]->crop = proposals_.boxes[place];
    }
    give_birth(points);
    confirm();
    bury();
    report();
}

// Into `kept` the rows of the poses that count: sure enough, and each person once.
void TrackState::drop_duplicates(const Point* points) {
    work_.rank.clear();
    work_.worth.clear();
    work_.order.clear();
    for (std::size_t row = 0; row < proposals_.size(); ++row) {
        const std::size_t owner = proposals_.owners[row];
        const bool detected = proposals_.detected[row];
        const double score = mean_score(pose(points, row));
        work_.rank.push_back(rank_of(owner, detected, proposals_.second[row]));
        work_.worth.push_back(owner == NOBODY ? score : oks_between(pose(points, row), people_[owner]->pose(), sigmas_));
        const bool stands_alone = owner == NOBODY || detected || stands(*people_[owner], score);
        if (stands_alone && work_.worth[row] >= 0 && score >= options_.min_score) work_.order.push_back(row);
    }
    const std::vector<double>&rank = work_.rank, &worth = work_.worth;
    std::sort(work_.order.begin(), work_.order.end(), [&](std::size_t one, std::size_t other) {
        if (rank[one] != rank[other]) return rank[one] > rank[other];
        return worth[one] != worth[other] ? worth[one] > worth[other] : one < other;
    });
    work_.kept.clear();
    for (const std::size_t row : work_.order) {
        const auto apart = [&](std::size_t better) {
            return !(oks_between(pose(points, row), pose(points, better), sigmas_) > options_.duplicate_oks);
        };
        if (std::all_of(work_.kept.begin(), work_.kept.end(), apart)) work_.kept.push_back(row);
    }
}

// Whether a pose with this score counts for a track that no detection supports in this frame. Whoever is lost is found again
// by a detection, if there are any.
bool TrackState::stands(const Person& person, double score) const {
    const bool unsupported = detecting_ && (!person.sure() || time_s_ - person.detected_s > options_.support_s);
    return score >= options_.keep_score * person.score && !unsupported;
}

// Similarities of the poses that count to the tracks: by joints, boxes, and how far a lost person may have gone.
void TrackState::compare(const Point* points) {
    for (Matrix* each : {&work_.by_joints, &work_.by_boxes, &work_.distances}) each->resize(work_.kept.size(), people_.size());
    work_.people.clear();
    for (const Person* person : people_) work_.people.push_back(box_of(person->pose()));
    for (std::size_t row = 0; row < work_.kept.size(); ++row) {
        const Pose found = pose(points, work_.kept[row]);
        const Box box = box_of(found);
        const Vector centre = centre_of(found);
        for (std::size_t track = 0; track < people_.size(); ++track) {
            const Person& person = *people_[track];
            work_.by_joints.at(row, track) = oks_between(found, person.pose(), sigmas_);
            work_.by_boxes.at(row, track) = iou(box, work_.people[track]);
            const double away = person.motion.distance(centre, person.size, options_.match_noise);
            const double grown = std::log(size_of(box) / person.size) / options_.size_noise;
            work_.distances.at(row, track) = std::sqrt(away * away + grown * grown);
        }
    }
}

// Into `pairs` (place in `kept`, track): by keypoints, boxes, the box's owner, and by how far a lost person may have gone.
// Whoever has an identity, even lost, comes before those who may be nobody.
void TrackState::match(const Point* points) {
    compare(points);
    work_.pairs.clear();
    for (const bool named : {true, false}) {
        for (const int way : {0, 1, 2, 3}) {
            work_.alike.resize(work_.kept.size(), people_.size());
            for (std::size_t row = 0; row < work_.kept.size(); ++row) {
                const std::size_t place = work_.kept[row];
                const bool detected = proposals_.detected[place];
                for (std::size_t track = 0; track < people_.size(); ++track) {
                    const Person& person = *people_[track];
                    const double joints = work_.by_joints.at(row, track), boxes = work_.by_boxes.at(row, track);
                    const double distance = work_.distances.at(row, track);
                    const bool enough = way == 0   ? joints >= options_.match_oks
                                        : way == 1 ? boxes >= options_.match_iou
                                        : way == 2 ? proposals_.owners[place] == track
                                                   : detected && !person.sure() && distance <= options_.match_distance;
                    const double alike = way == 0 ? joints : way == 3 ? -distance : boxes;
                    const double doubts = doubt(person) + (detected || !detecting_ ? 0 : UNSUPPORTED);
                    work_.alike.at(row, track) = enough && (person.identity > 0) == named ? alike - doubts : NEVER;
                }
            }
            for (const auto& [row, track] : work_.pairs) work_.alike.take(row, track);
            match_greedily(work_.alike, work_.pairs);
        }
    }
}

// New tracks begin only at detections.
void TrackState::give_birth(const Point* points) {
    work_.supported.assign(people_.size(), 0);  // tracks that were met
    for (const auto& [row, track] : work_.pairs) work_.supported[track] = 1;
    for (std::size_t row = 0; row < work_.kept.size(); ++row) {
        const std::size_t place = work_.kept[row], owner = proposals_.owners[place];
        const auto is_taken = [&](const auto& pair) { return pair.first == row; };
        if (std::any_of(work_.pairs.begin(), work_.pairs.end(), is_taken) || !proposals_.detected[place]) continue;
        if (owner != NOBODY && work_.supported[owner]) continue;
        Person* born = free_.back();
        free_.pop_back();
        born->be_born(pose(points, place), proposals_.boxes[place], time_s_, options_);
        born->hidden = is_hidden(proposals_.boxes[place]);
        people_.push_back(born);
    }
}

// Whether a box lies mostly in that of a known person.
bool TrackState::is_hidden(const Box& box) const {
    return std::any_of(people_.begin(), people_.end(), [&](const Person* person) {
        return person->sure() && covered(box, box_of(person->pose())) >= options_.hidden_share;
    });
}

// Identities to those who have been detected for long enough.
void TrackState::confirm() {
    for (Person* person : people_) {
        const double wanted = person->hidden ? options_.hidden_birth_s : options_.birth_s;
        const bool old = person->detected_s - person->born_s >= wanted;
        if (!person->identity && person->visible && (first_ || old)) person->identity = next_++;
    }
}

// An end to the tracks that were not seen for too long, to those without an identity that a detector did not see, and to the
// longest lost where there are too many.
void TrackState::bury() {
    for (std::size_t row = 0; row < people_.size();) {
        const Person& person = *people_[row];
        const bool seen = person.visible && (person.detected_s == time_s_ || !detecting_);
        const bool lives = time_s_ - person.found_s <= options_.death_s && (person.identity || seen);
        if (lives) ++row;
        else forget(row);
    }
    while (people_.size() > MOST_TRACKS * static_cast<std::size_t>(options_.max_people)) {
        std::size_t oldest = 0;
        for (std::size_t row = 0; row < people_.size(); ++row) {
            if (people_[row]->found_s <= people_[oldest]->found_s) oldest = row;
        }
        forget(oldest);
    }
}

void TrackState::forget(std::size_t row) {
    free_.push_back(people_[row]);
    people_.erase(people_.begin() + static_cast<std::ptrdiff_t>(row));
}

void TrackState::report() {
    reported_.clear();
    for (const Person* person : people_) {
        if (person->sure()) reported_.push_back(person);
    }
    std::sort(reported_.begin(), reported_.end(), [](const Person* one, const Person* other) {
        return one->identity < other->identity;
    });
}

}  // namespace lehrnet::track
