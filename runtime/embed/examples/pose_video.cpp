// pose_video BUNDLE [VIDEO|CAMERA]: one person who fills the frame, drawn, with frames a second. Esc ends it.
//
// A product gives boxes from its detector: session.run takes as many as there are.
#include <lehrnet.hpp>

#include <chrono>
#include <cstdio>
#include <opencv2/highgui.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#include <string>

namespace {

void draw(cv::Mat& frame, const lehrnet_info& info, const lehrnet::Keypoint* person) {
    const auto place = [person](std::int32_t joint) { return cv::Point2f(person[joint].x, person[joint].y); };
    const auto visible = [&](std::int32_t joint) { return person[joint].score >= info.min_score; };
    for (std::int32_t i = 0; i < info.limb_count; ++i) {
        const std::int32_t from = info.limbs[2 * i], to = info.limbs[2 * i + 1];
        if (visible(from) && visible(to)) cv::line(frame, place(from), place(to), {0, 200, 255}, 2, cv::LINE_AA);
    }
    for (std::int32_t joint = 0; joint < info.joints; ++joint) {
        if (visible(joint)) cv::circle(frame, place(joint), 4, {40, 40, 255}, cv::FILLED, cv::LINE_AA);
    }
}

int play(const std::string& bundle, const std::string& source) {
    lehrnet::Session session(bundle);
    const bool camera = source.find_first_not_of("0123456789") == std::string::npos;
    cv::VideoCapture capture;
    if (!(camera ? capture.open(std::stoi(source)) : capture.open(source))) {
        std::fprintf(stderr, "pose_video: %s cannot be opened\n", source.c_str());
        return 2;
    }
    std::vector<lehrnet::Keypoint> found;
    double rate = 0;
    for (cv::Mat frame; capture.read(frame);) {
        const auto start = std::chrono::steady_clock::now();
        const lehrnet::Image image = lehrnet::bgr(frame.data, frame.cols, frame.rows, frame.step);
        session.run(image, {{0, 0, static_cast<float>(frame.cols), static_cast<float>(frame.rows)}}, found);
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        rate = rate > 0 ? 0.9 * rate + 0.1 / seconds : 1 / seconds;
        draw(frame, session.info(), found.data());
        cv::putText(frame, cv::format("%.1f frames/s", rate), {10, 30}, cv::FONT_HERSHEY_SIMPLEX, 0.8, {255, 255, 255}, 2);
        cv::imshow("lehrnet", frame);
        if (cv::waitKey(1) == 27) break;
    }
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 2 || count > 3) {
        std::fprintf(stderr, "usage: %s BUNDLE [VIDEO|CAMERA]\n", arguments[0]);
        return 2;
    }
    try {
        return play(arguments[1], count == 3 ? arguments[2] : "0");
    } catch (const std::exception& error) {
        std::fprintf(stderr, "pose_video: %s\n", error.what());
        return 1;
    }
}
