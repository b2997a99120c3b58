// The tracker's part of the C interface.
#include <lehrnet.h>

#include "handles.h"
#include "track/options.h"
#include "track/tracker.h"

struct lehrnet_tracker : lehrnet::track::Tracker {
    using Tracker::Tracker;
};

using lehrnet::fail;
using lehrnet::guarded;
using lehrnet::need;

extern "C" {

lehrnet_status lehrnet_tracker_options_init(lehrnet_tracker_options* options, size_t struct_size) noexcept {
    return guarded([&] {
        need(options, "options");
        if (struct_size != sizeof *options) {
            fail(LEHRNET_ABI_MISMATCH, "struct_size is ", struct_size, ", expected ", sizeof *options,
                 ": build against this library's header");
        }
        *options = lehrnet::track::default_options();
    });
}

lehrnet_status lehrnet_tracker_create(lehrnet_session* session, const lehrnet_tracker_options* options,
                                      lehrnet_tracker** tracker) noexcept {
    return guarded([&] {
        need(tracker, "tracker");
        *tracker = nullptr;
        need(session, "session");
        const lehrnet_tracker_options usual = lehrnet::track::default_options();
        if (!options) options = &usual;
        lehrnet::track::check_options(*options);
        *tracker = new lehrnet_tracker(*session, *options);
    });
}

lehrnet_status lehrnet_tracker_update(lehrnet_tracker* tracker, const lehrnet_frame* frames, size_t frame_count,
                                      const lehrnet_person** people, size_t* count) noexcept {
    return guarded([&] {
        need(tracker, "tracker");
        need(people, "people");
        need(count, "count");
        *people = nullptr;
        *count = 0;
        tracker->update(frames, frame_count);
        *people = tracker->people().data();
        *count = tracker->people().size();
    });
}

lehrnet_status lehrnet_tracker_reset(lehrnet_tracker* tracker, int32_t stream) noexcept {
    return guarded([&] {
        need(tracker, "tracker");
        tracker->reset(stream);
    });
}

void lehrnet_tracker_close(lehrnet_tracker* tracker) noexcept { delete tracker; }

}  // extern "C"
