// A thin C++17 face of lehrnet.h: sessions and trackers close themselves, errors are exceptions. Header only.
#pragma once

#include <lehrnet.h>

#include <array>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace lehrnet {

using Box = std::array<float, 4>;  // x1, y1, x2, y2 in px
using Keypoint = lehrnet_keypoint;
using Image = lehrnet_image;
using Frame = lehrnet_frame;
using Person = lehrnet_person;

class Error : public std::runtime_error {
public:
    explicit Error(lehrnet_status status)
        : std::runtime_error(std::string(lehrnet_status_name(status)) + ": " + lehrnet_last_error()), status(status) {}
    lehrnet_status status;
};

inline void check(lehrnet_status status) {
    if (status != LEHRNET_OK) throw Error(status);
}

// Defaults, to be changed before a session is opened. Its strings must live as long as that takes.
struct Options : lehrnet_options {
    Options() { check(lehrnet_options_init(this, sizeof(lehrnet_options))); }
};

// One thread at a time; movable, not copyable.
class Session {
public:
    explicit Session(const std::string& bundle, const Options& options = {}) {
        check(lehrnet_open(bundle.c_str(), &options, LEHRNET_ABI_VERSION, &handle_));
        info_.struct_size = sizeof info_;
        check(lehrnet_describe(handle_, &info_));
    }
    ~Session() { lehrnet_close(handle_); }
    Session(Session&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)), info_(other.info_) {}
    Session& operator=(Session&& other) noexcept {
        std::swap(handle_, other.handle_);
        std::swap(info_, other.info_);
        return *this;
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    const lehrnet_info& info() const { return info_; }
    lehrnet_session* handle() const { return handle_; }

    // Keypoints, info().joints a person, person after person.
    std::vector<Keypoint> operator()(const Image& image, const std::vector<Box>& boxes) {
        std::vector<Keypoint> found;
        run(image, boxes, found);
        return found;
    }

    // The same into a vector that is used again from frame to frame.
    void run(const Image& image, const std::vector<Box>& boxes, std::vector<Keypoint>& found) {
        found.resize(boxes.size() * static_cast<std::size_t>(info_.joints));
        const float* corners = boxes.empty() ? nullptr : boxes.front().data();
        check(lehrnet_run(handle_, &image, corners, boxes.size(), found.data(), found.size()));
    }

private:
    lehrnet_session* handle_ = nullptr;
    lehrnet_info info_{};
};

// Defaults, to be changed before a tracker is made.
struct TrackerOptions : lehrnet_tracker_options {
    TrackerOptions() { check(lehrnet_tracker_options_init(this, sizeof(lehrnet_tracker_options))); }
};

// The people of a call, until the tracker's next one.
class People {
public:
    People(const Person* first, std::size_t count) : first_(first), count_(count) {}
    const Person* begin() const { return first_; }
    const Person* end() const { return first_ + count_; }
    std::size_t size() const { return count_; }
    const Person& operator[](std::size_t place) const { return first_[place]; }

private:
    const Person* first_;
    std::size_t count_;
};

// People with identities in one stream or several. Its session outlives it, and both serve one thread at a time; movable,
// not copyable.
class Tracker {
public:
    explicit Tracker(Session& session, const TrackerOptions& options = {}) {
        check(lehrnet_tracker_create(session.handle(), &options, &handle_));
    }
    ~Tracker() { lehrnet_tracker_close(handle_); }
    Tracker(Tracker&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Tracker& operator=(Tracker&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    Tracker(const Tracker&) = delete;
    Tracker& operator=(const Tracker&) = delete;

    lehrnet_tracker* handle() const { return handle_; }

    // The next frame of the only stream, where no detector looked.
    People operator()(const Image& image, double time_s) {
        Frame frame{};
        frame.image = image;
        frame.time_s = time_s;
        return update(&frame, 1);
    }

    // The same with what a detector found, possibly nothing; without scores the boxes are alike.
    People operator()(const Image& image, double time_s, const std::vector<Box>& boxes, const std::vector<float>& scores = {}) {
        if (!scores.empty() && scores.size() != boxes.size()) {
            throw std::invalid_argument(std::to_string(scores.size()) + " scores for " + std::to_string(boxes.size()) + " boxes");
        }
        Frame frame{};
        frame.detected = 1;
        frame.image = image;
        frame.time_s = time_s;
        frame.boxes = boxes.empty() ? nullptr : boxes.front().data();
        frame.scores = scores.empty() ? nullptr : scores.data();
        frame.count = boxes.size();
        return update(&frame, 1);
    }

    // One frame of each stream that has one now.
    People update(const Frame* frames, std::size_t count) {
        const Person* people = nullptr;
        std::size_t found = 0;
        check(lehrnet_tracker_update(handle_, frames, count, &people, &found));
        return People(people, found);
    }

    void reset(int stream = 0) { check(lehrnet_tracker_reset(handle_, stream)); }

private:
    lehrnet_tracker* handle_ = nullptr;
};

// A BGR picture, such as a cv::Mat of type CV_8UC3: bgr(mat.data, mat.cols, mat.rows, mat.step).
inline Image bgr(const unsigned char* data, int width, int height, std::size_t stride) {
    return Image{LEHRNET_BGR, width, height, data, stride, nullptr, 0};
}

}  // namespace lehrnet
