// soak BUNDLE RUNS: resident memory over many runs, as lines "run KiB". The library comes from $LEHRNET_ONNXRUNTIME.
#include <unistd.h>

#include <cstdlib>

#include "check.h"

namespace {

long resident_kib() {
    std::ifstream file("/proc/self/statm");
    long total = 0, resident = 0;
    file >> total >> resident;
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 3) {
        std::fprintf(stderr, "usage: %s BUNDLE RUNS\n", arguments[0]);
        return 2;
    }
    lehrnet_options options;
    lehrnet_options_init(&options, sizeof options);
    options.threads = 1;
    options.max_batch = 4;
    lehrnet_session* session = nullptr;
    if (lehrnet_open(arguments[1], &options, LEHRNET_ABI_VERSION, &session) != LEHRNET_OK) {
        std::fprintf(stderr, "%s\n", lehrnet_last_error());
        return 1;
    }
    std::vector<std::uint8_t> pixels(320 * 240 * 3, 90);
    const lehrnet_image image = {LEHRNET_BGR, 320, 240, pixels.data(), 960, nullptr, 0};
    const float boxes[] = {10, 10, 100, 200, 50, 5, 300, 230, 0, 0, 320, 240};
    lehrnet_info info{};
    info.struct_size = sizeof info;
    lehrnet_describe(session, &info);
    std::vector<lehrnet_keypoint> found(3 * static_cast<std::size_t>(info.joints));
    const long runs = std::atol(arguments[2]);
    for (long run = 0; run <= runs; ++run) {
        const std::size_t people = 1 + static_cast<std::size_t>(run) % 3;
        if (lehrnet_run(session, &image, boxes, people, found.data(), found.size()) != LEHRNET_OK) {
            std::fprintf(stderr, "run %ld: %s\n", run, lehrnet_last_error());
            return 1;
        }
        if (run % (runs / 10 > 0 ? runs / 10 : 1) == 0) std::printf("%ld %ld\n", run, resident_kib());
    }
    lehrnet_close(session);
    return 0;
}
