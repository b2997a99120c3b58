#include "tracker.h"

#include <algorithm>
#include <cmath>

#include "../failure.h"
#include "options.h"

namespace lehrnet::track {
namespace {

constexpr double SEARCH_EVERY_S = 1.0;  // without a detector an empty scene is searched this often
constexpr float FARTHEST = 1e7f;        // px: no image is as large, and a float still tells pixels apart

void check_detections(const lehrnet_frame& frame) {
    if (frame.count > MOST_DETECTIONS) {
        fail(LEHRNET_INVALID_ARGUMENT, "a frame has ", frame.count, " boxes, expected at most ", MOST_DETECTIONS);
    }
    check_boxes(frame.boxes, frame.count);
    for (std::size_t i = 0; i < frame.count; ++i) {
        const float* box = frame.boxes + 4 * i;
        if (std::any_of(box, box + 4, [](float side) { return std::abs(side) > FARTHEST; })) {
            fail(LEHRNET_INVALID_ARGUMENT, "box ", i, " is ", box[0], ", ", box[1], ", ", box[2], ", ", box[3],
                 "; expected px within ", FARTHEST, " of the image's corner");
        }
        if (frame.scores && !std::isfinite(frame.scores[i])) {
            fail(LEHRNET_INVALID_ARGUMENT, "the score of box ", i, " is ", frame.scores[i], ", expected a number");
        }
    }
}

}  // namespace

Tracker::Tracker(Session& session, const lehrnet_tracker_options& options)
    : session_(session), options_(options), joints_(session.spec().joints.size()), work_(options_),
      search_(session.spec().sigmas, session.spec().min_score) {
    const auto streams = static_cast<std::size_t>(options.streams), people = streams * options.max_people;
    streams_.reserve(streams);
    for (std::size_t i = 0; i < streams; ++i) streams_.push_back({TrackState(session.spec().sigmas, options_, work_)});
    detections_.boxes.reserve(MOST_DETECTIONS);
    detections_.scores.reserve(MOST_DETECTIONS);
    items_.reserve(streams);
    const std::size_t boxes = std::max(people, Search::most_windows());
    boxes_.resize(4 * (people + Search::most_windows()));  // a search runs while other streams' boxes wait
    found_.resize(boxes * joints_);
    points_.resize(boxes * joints_);
    raw_.reserve(people * joints_);
    smoothed_.reserve(options.smooth ? people * joints_ : 0);
    visible_.reserve(people * joints_);
    people_.reserve(people);
}

void Tracker::reset(std::int32_t stream) {
    if (stream < 0 || stream >= options_.streams) {
        fail(LEHRNET_INVALID_ARGUMENT, "stream is ", stream, ", expected 0 to ", options_.streams - 1);
    }
    streams_[stream].state.reset();
    streams_[stream].searched = false;
}

void Tracker::update(const lehrnet_frame* frames, std::size_t frame_count) {
    check(frames, frame_count);
    people_.clear();
    raw_.clear();
    smoothed_.clear();
    visible_.clear();
    items_.clear();
    std::size_t people = 0;
    for (std::size_t i = 0; i < frame_count; ++i) {
        const Proposals& proposals = propose(frames[i]);
        items_.push_back({frames[i].image, narrowed(proposals.boxes, people), proposals.size()});
        people += proposals.size();
    }
    const Point* points = run(items_.data(), frame_count, people);
    for (std::size_t i = 0; i < frame_count; ++i) {
        streams_[frames[i].stream].state.accept(points);
        points += items_[i].count * joints_;
        write(frames[i].stream);
    }
}

// Everything that the caller gave, before anything is changed.
void Tracker::check(const lehrnet_frame* frames, std::size_t frame_count) {
    if (frame_count > 0 && !frames) fail(LEHRNET_INVALID_ARGUMENT, "frames is NULL, but their count is ", frame_count);
    if (frame_count > streams_.size()) {
        fail(LEHRNET_INVALID_ARGUMENT, frame_count, " frames for ", streams_.size(), " streams; give one frame of each stream, or none");
    }
    for (Stream& stream : streams_) stream.given = false;
    for (std::size_t i = 0; i < frame_count; ++i) {
        const lehrnet_frame& frame = frames[i];
        if (frame.stream < 0 || frame.stream >= options_.streams) {
            fail(LEHRNET_INVALID_ARGUMENT, "stream is ", frame.stream, ", expected 0 to ", options_.streams - 1);
        }
        Stream& stream = streams_[frame.stream];
        if (stream.given) {
            fail(LEHRNET_INVALID_ARGUMENT, "stream ", frame.stream, " has two frames; give one frame of each stream, or none");
        }
        stream.given = true;
        check_image(&frame.image);
        stream.state.check_time(frame.time_s);
        if (frame.detected) check_detections(frame);
    }
}

// The boxes to look at: round detections and tracks, or of the one person who is followed, found by a search if nobody is.
const Proposals& Tracker::propose(const lehrnet_frame& frame) {
    Stream& stream = streams_[frame.stream];
    detections_.boxes.clear();
    detections_.scores.clear();
    if (frame.detected) {
        for (std::size_t i = 0; i < frame.count; ++i) {
            const float* box = frame.boxes + 4 * i;
            detections_.boxes.push_back({box[0], box[1], box[2], box[3]});
            detections_.scores.push_back(frame.scores ? frame.scores[i] : 1.0);
        }
        return stream.state.propose(frame.time_s, &detections_);
    }
    const bool waits = stream.searched && frame.time_s - stream.searched_s < SEARCH_EVERY_S;
    if (!stream.state.empty() || waits) return stream.state.propose(frame.time_s, nullptr);
    stream.searched = true;
    stream.searched_s = frame.time_s;
    searched_ = &frame.image;
    search_.find_person(*this, frame.image.width, frame.image.height, detections_.boxes);
    detections_.scores.assign(detections_.boxes.size(), 1.0);
    return stream.state.propose(frame.time_s, &detections_);
}

// The search's look at its frame; its boxes lie behind those of all streams.
const Point* Tracker::operator()(const std::vector<Box>& boxes) {
    const std::size_t people = streams_.size() * static_cast<std::size_t>(options_.max_people);
    const lehrnet_item item = {*searched_, narrowed(boxes, people), boxes.size()};
    return run(&item, 1, boxes.size());
}

// Boxes as the session takes them, from box `place` of boxes_ on.
const float* Tracker::narrowed(const std::vector<Box>& boxes, std::size_t place) {
    float* to = boxes_.data() + 4 * place;
    for (const Box& box : boxes) {
        for (const double side : {box.x1, box.y1, box.x2, box.y2}) *to++ = static_cast<float>(side);
    }
    return boxes_.data() + 4 * place;
}

// The joints of all people of the items, person after person.
const Point* Tracker::run(const lehrnet_item* items, std::size_t item_count, std::size_t people) {
    session_.run_many(items, item_count, found_.data(), people * joints_);
    std::transform(found_.begin(), found_.begin() + static_cast<std::ptrdiff_t>(people * joints_), points_.begin(),
                   [](const lehrnet_keypoint& joint) { return Point{joint.x, joint.y, joint.score}; });
    return points_.data();
}

// Add the people whom a stream reports to the results.
void Tracker::write(std::int32_t stream) {
    for (const Person* person : streams_[stream].state.reported()) {
        const std::size_t first = raw_.size();
        const std::vector<Vector>& smooth = person->smoother.joints();
        for (std::size_t joint = 0; joint < joints_; ++joint) {
            const Point& point = person->points[joint];
            const auto score = static_cast<float>(point.score);
            raw_.push_back({static_cast<float>(point.x), static_cast<float>(point.y), score});
            visible_.push_back(score >= session_.spec().min_score);
            if (!options_.smooth) continue;
            smoothed_.push_back({static_cast<float>(smooth[joint].x), static_cast<float>(smooth[joint].y), score});
        }
        const Box& crop = person->crop;
        people_.push_back({person->identity, stream, static_cast<float>(mean_score(person->pose())),
                           {static_cast<float>(crop.x1), static_cast<float>(crop.y1), static_cast<float>(crop.x2),
                            static_cast<float>(crop.y2)},
                           raw_.data() + first, options_.smooth ? smoothed_.data() + first : nullptr, visible_.data() + first});
    }
}

}  // namespace lehrnet::track
