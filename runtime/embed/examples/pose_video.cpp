// pose_video BUNDLE WIDTHxHEIGHT RATE|live [DETECTIONS] < FRAMES: people with identities in raw BGR frames, one line of JSON
// a frame, in the form of `lehrnet predict --track --json`.
//
//     ffmpeg -i walk.mp4 -fps_mode passthrough -f rawvideo -pix_fmt bgr24 - | pose_video bundle 1920x1080 30 detections.txt
//     ffmpeg -f v4l2 -i /dev/video0 -f rawvideo -pix_fmt bgr24 - | pose_video bundle 640x480 live
//
// RATE gives the frames their times; `live` takes the clock. Each line of DETECTIONS is a box of a detector, in order of the
// frames: frame number from 0 on, x1, y1, x2, y2 in px, and the score. Without the file one person is followed.
#include <lehrnet.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

namespace {

struct Found {
    std::vector<lehrnet::Box> boxes;
    std::vector<float> scores;
};

std::map<long, Found> read_detections(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::invalid_argument(path + " cannot be read");
    std::map<long, Found> frames;
    long frame = 0;
    float score = 0;
    for (lehrnet::Box box; file >> frame >> box[0] >> box[1] >> box[2] >> box[3] >> score;) {
        frames[frame].boxes.push_back(box);
        frames[frame].scores.push_back(score);
    }
    if (!file.eof()) throw std::invalid_argument(path + " has a line that is not a frame's number, x1, y1, x2, y2 and a score");
    return frames;
}

void write(long frame, double time_s, const lehrnet::People& people, std::int32_t joints) {
    std::printf("{\"frame\": %ld, \"time_s\": %.4f, \"people\": [", frame, time_s);
    for (const lehrnet::Person& person : people) {
        const float* box = person.box;
        std::printf("%s{\"id\": %lld, \"bbox\": [%.2f, %.2f, %.2f, %.2f], \"score\": %.4f, \"keypoints\": [", &person == people.begin() ? "" : ", ",
                    static_cast<long long>(person.id), box[0], box[1], box[2] - box[0], box[3] - box[1], person.score);
        for (std::int32_t joint = 0; joint < joints; ++joint) {
            const lehrnet::Keypoint& point = person.keypoints[joint];
            std::printf("%s%.3f, %.3f, %.4f", joint ? ", " : "", point.x, point.y, point.score);
        }
        std::printf("], \"visible\": [");
        for (std::int32_t joint = 0; joint < joints; ++joint) std::printf("%s%d", joint ? ", " : "", person.visible[joint]);
        std::printf("]}");
    }
    std::printf("]}\n");
    std::fflush(stdout);
}

void follow(const std::string& bundle, int width, int height, double rate, const char* detections) {
    const Found nobody;
    std::map<long, Found> given;
    if (detections) given = read_detections(detections);
    lehrnet::Session session(bundle);
    lehrnet::Tracker tracker(session);
    std::vector<unsigned char> pixels(std::size_t{3} * width * height);
    const lehrnet::Image image = lehrnet::bgr(pixels.data(), width, height, std::size_t{3} * width);
    const auto start = std::chrono::steady_clock::now();
    for (long frame = 0;; ++frame) {
        const std::size_t read = std::fread(pixels.data(), 1, pixels.size(), stdin);
        if (read > 0 && read < pixels.size()) throw std::invalid_argument("the last frame is cut: is the size right?");
        if (read == 0) return;
        const double clock_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        const double time_s = rate > 0 ? frame / rate : clock_s;
        const auto place = given.find(frame);
        const Found& found = place == given.end() ? nobody : place->second;
        write(frame, time_s, detections ? tracker(image, time_s, found.boxes, found.scores) : tracker(image, time_s),
              session.info().joints);
    }
}

}  // namespace

int main(int count, char** arguments) {
    int width = 0, height = 0;
    const bool live = count > 3 && std::string(arguments[3]) == "live";
    const double rate = live ? 0 : count > 3 ? std::atof(arguments[3]) : 0;
    if (count < 4 || count > 5 || std::sscanf(arguments[2], "%dx%d", &width, &height) != 2 || width < 1 || height < 1 ||
        width > 65536 || height > 65536 || !(live || rate > 0)) {
        std::fprintf(stderr, "usage: %s BUNDLE WIDTHxHEIGHT RATE|live [DETECTIONS] < FRAMES\n", arguments[0]);
        return 2;
    }
    try {
        follow(arguments[1], width, height, rate, count == 5 ? arguments[4] : nullptr);
        return 0;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "pose_video: %s\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "pose_video: %s\n", error.what());
        return 1;
    }
}
