// The tracks of one stream: which boxes to look at, and who the poses found there are (lehrnet/runtime/track/state.py).
//
// A frame takes two calls, between which the caller runs the network: propose and accept.
#pragma once

#include <lehrnet.h>

#include <cstdint>
#include <vector>

#include "matching.h"
#include "person.h"

namespace lehrnet::track {

constexpr std::size_t NOBODY = SIZE_MAX;

// Boxes of a detector, and their scores between 0 and 1.
struct Detections {
    std::vector<Box> boxes;
    std::vector<double> scores;
};

// Boxes for the network, at most max_people.
struct Proposals {
    std::vector<Box> boxes;
    Rows owners;                     // row of the track in its stream that the box belongs to, or NOBODY
    std::vector<unsigned char> detected;  // whether the box is a detection, or that of a track which a detection supports
    std::vector<unsigned char> second;    // whether it is a track's expected box, beside its detection

    std::size_t size() const { return boxes.size(); }
};

// Work space, which the streams of a tracker share.
struct Workspace {
    explicit Workspace(const lehrnet_tracker_options& options);

    Matrix alike, by_joints, by_boxes, distances;
    std::vector<Box> boxes, people;  // boxes to look at, and those round the tracks' joints
    std::vector<double> worth, rank;
    Rows order, kept, owners;
    std::vector<unsigned char> supported;
    Pairs pairs;
};

// The people of one stream, with their identities. One thread at a time.
class TrackState {
public:
    TrackState(const std::vector<double>& sigmas, const lehrnet_tracker_options& options, Workspace& work);

    // Forget everybody; identities start at 1 again.
    void reset();

    bool empty() const { return people_.empty(); }

    // Failure if a frame's time is none, or before that of the last frame.
    void check_time(double time_s) const;

    // Boxes to look at in the frame of `time_s`; NULL: no detector ran. They live until the next call.
    const Proposals& propose(double time_s, const Detections* detections);

    // Take the poses of the proposals' boxes, joints after joints: those that count get identities.
    void accept(const Point* points);

    // The people who were found in this frame, by identity.
    const std::vector<const Person*>& reported() const { return reported_; }

private:
    void advance(double time_s);
    void own();
    void choose();
    void drop_duplicates(const Point* points);
    void compare(const Point* points);
    void match(const Point* points);
    void give_birth(const Point* points);
    void confirm();
    void bury();
    void forget(std::size_t row);
    void report();

    Pose pose(const Point* points, std::size_t row) const { return {points + row * sigmas_.size(), sigmas_.size()}; }
    double rank_of(std::size_t owner, bool detected, bool second) const;
    double doubt(const Person& person) const;
    bool stands(const Person& person, double score) const;
    bool is_hidden(const Box& box) const;

    const std::vector<double>& sigmas_;
    const lehrnet_tracker_options& options_;
    Workspace& work_;
    std::vector<Person> memory_;
    std::vector<Person*> people_, free_;
    std::vector<const Person*> reported_;
    Proposals proposals_;
    double time_s_ = 0;
    bool started_ = false, first_ = false, detecting_ = false;
    std::int64_t next_ = 1;
};

}  // namespace lehrnet::track
