// The frames of write_golden_tracks.py: three spots a person on black.
#pragma once

#include <algorithm>
#include <cstdlib>

#include "check.h"

namespace scenes {

constexpr int WIDTH = 128, HEIGHT = 96, REACH = 11, FALL = 20, DIMMER = 13;
constexpr std::size_t PEOPLE = 3, JOINTS = 17;

struct Spot {
    int right, down, colour;
};
constexpr Spot SPOTS[] = {{-5, -22, 2}, {6, -4, 1}, {-2, 24, 0}};

// One frame of stream 0: its time, where people are (x, y), and what a detector found, x1, y1, x2, y2 and score.
struct Scene {
    double time_s;
    std::vector<int> people;
    bool detected;
    std::vector<float> boxes, scores;
};

inline std::vector<Scene> read_scenes(const std::string& golden) {
    const std::vector<float> numbers = read_array<float>(golden + "/track_frames.f32");
    std::vector<Scene> scenes;
    for (std::size_t at = 0; at < numbers.size();) {
        Scene scene{numbers[at], {}, numbers[at + 1] >= 0, {}, {}};
        const auto boxes = static_cast<std::size_t>(std::max(numbers[at + 1], 0.0f));
        at += 2;
        for (std::size_t i = 0; i < 2 * PEOPLE; ++i) scene.people.push_back(static_cast<int>(numbers[at++]));
        for (std::size_t i = 0; i < boxes; ++i, at += 5) {
            scene.boxes.insert(scene.boxes.end(), numbers.begin() + static_cast<long>(at), numbers.begin() + static_cast<long>(at) + 4);
            scene.scores.push_back(numbers[at + 4]);
        }
        scenes.push_back(scene);
    }
    return scenes;
}

// BGR of the first `count` people.
inline void draw(const Scene& scene, std::size_t count, std::vector<std::uint8_t>& pixels) {
    pixels.assign(3 * WIDTH * HEIGHT, 0);
    for (std::size_t person = 0; person < count; ++person) {
        const int brightest = 255 - DIMMER * static_cast<int>(person);
        for (const Spot& spot : SPOTS) {
            const int x = scene.people[2 * person] + spot.right, y = scene.people[2 * person + 1] + spot.down;
            for (int row = std::max(0, y - REACH + 1); row < std::min(HEIGHT, y + REACH); ++row) {
                for (int column = std::max(0, x - REACH + 1); column < std::min(WIDTH, x + REACH); ++column) {
                    const int right = std::abs(column - x), down = std::abs(row - y);
                    const int level = std::max(brightest - FALL * std::max(right, down) - right - down, 0);
                    std::uint8_t& pixel = pixels[static_cast<std::size_t>(3 * (row * WIDTH + column) + spot.colour)];
                    pixel = std::max(pixel, static_cast<std::uint8_t>(level));
                }
            }
        }
    }
}

inline lehrnet_frame frame_of(std::int32_t stream, const Scene& scene, const std::vector<std::uint8_t>& pixels, bool detections) {
    lehrnet_frame frame{};
    frame.stream = stream;
    frame.image = {LEHRNET_BGR, WIDTH, HEIGHT, pixels.data(), 3 * WIDTH, nullptr, 0};
    frame.time_s = scene.time_s;
    if (!detections || !scene.detected) return frame;
    frame.detected = 1;
    frame.boxes = scene.boxes.data();
    frame.scores = scene.scores.data();
    frame.count = scene.scores.size();
    return frame;
}

}  // namespace scenes
