// The tracker: frames in, people with identities out. It joins a session and the tracks
// (lehrnet/runtime/track/tracker.py).
#pragma once

#include <lehrnet.h>

#include <vector>

#include "../session.h"
#include "search.h"
#include "state.h"

namespace lehrnet::track {

// All memory is taken here, so that frames take none.
class Tracker : private Look {
public:
    // options as check_options took them; the session outlives the tracker.
    Tracker(Session& session, const lehrnet_tracker_options& options);

    // People in one frame of each stream that has one now; everybody shares the network's batches. A Failure of what the
    // caller gave leaves the tracks as they were.
    void update(const lehrnet_frame* frames, std::size_t frame_count);

    // Who was found by the last update, frame after frame.
    const std::vector<lehrnet_person>& people() const { return people_; }

    void reset(std::int32_t stream);

private:
    struct Stream {
        TrackState state;
        bool searched = false, given = false;
        double searched_s = 0;
    };

    const Point* operator()(const std::vector<Box>& boxes) override;
    void check(const lehrnet_frame* frames, std::size_t frame_count);
    const Proposals& propose(const lehrnet_frame& frame);
    const Point* run(const lehrnet_item* items, std::size_t item_count, std::size_t people);
    const float* narrowed(const std::vector<Box>& boxes, std::size_t place);
    void write(std::int32_t stream);

    Session& session_;
    lehrnet_tracker_options options_;
    std::size_t joints_;
    Workspace work_;
    std::vector<Stream> streams_;
    Search search_;
    const lehrnet_image* searched_ = nullptr;  // while a search runs
    Detections detections_;
    std::vector<lehrnet_item> items_;
    std::vector<float> boxes_;
    std::vector<lehrnet_keypoint> found_, raw_, smoothed_;
    std::vector<Point> points_;
    std::vector<std::uint8_t> visible_;
    std::vector<lehrnet_person> people_;
};

}  // namespace lehrnet::track
