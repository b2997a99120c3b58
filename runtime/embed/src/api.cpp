// The C interface: checks what only it can, and turns exceptions into statuses.
#include <lehrnet.h>

#include <algorithm>
#include <thread>

#include "failure.h"
#include "handles.h"
#include "words.h"

namespace {

using lehrnet::fail;
using lehrnet::guarded;
using lehrnet::need;

// trust_engine lies where version 1 had padding, which lehrnet_options_init clears.
static_assert(sizeof(void*) != 8 || sizeof(lehrnet_options) == 48);

constexpr std::int32_t LARGEST_BATCH = 1024;
constexpr std::int32_t THREADS_A_CORE = 4;

// Fixed, so that saying that memory ran out takes none.
thread_local char last_error[1024] = "";

lehrnet_options defaults() {
    lehrnet_options options{};
    options.struct_size = sizeof options;
    options.precision = "auto";
    options.device = "cpu";
    options.max_batch = 32;
    return options;
}

void check_options(const lehrnet_options& options) {
    if (options.struct_size != sizeof options) {
        fail(LEHRNET_ABI_MISMATCH, "options.struct_size is ", options.struct_size, ", expected ", sizeof options,
             ": call lehrnet_options_init first, and build against this library's header");
    }
    need(options.precision, "options.precision");
    need(options.device, "options.device");
    if (options.max_batch < 1 || options.max_batch > LARGEST_BATCH) {
        fail(LEHRNET_INVALID_ARGUMENT, "options.max_batch is ", options.max_batch, ", expected 1 to ", LARGEST_BATCH);
    }
    const auto here = static_cast<std::int32_t>(std::clamp(std::thread::hardware_concurrency(), 1u, 4096u));
    if (options.threads < 0 || options.threads > THREADS_A_CORE * here) {
        fail(LEHRNET_INVALID_ARGUMENT, "options.threads is ", options.threads, ", expected 0 to ", THREADS_A_CORE * here,
             ": this machine has ", here);
    }
}

}  // namespace

lehrnet_status lehrnet::failed(lehrnet_status status, const char* message) noexcept {
    write_plain(message, last_error, sizeof last_error);
    return status;
}

extern "C" {

uint32_t lehrnet_abi_version(void) noexcept { return LEHRNET_ABI_VERSION; }

const char* lehrnet_last_error(void) noexcept { return last_error; }

const char* lehrnet_status_name(lehrnet_status status) noexcept {
    switch (status) {
        case LEHRNET_OK: return "OK";
        case LEHRNET_INVALID_ARGUMENT: return "INVALID_ARGUMENT";
        case LEHRNET_ABI_MISMATCH: return "ABI_MISMATCH";
        case LEHRNET_NOT_FOUND: return "NOT_FOUND";
        case LEHRNET_BAD_BUNDLE: return "BAD_BUNDLE";
        case LEHRNET_UNKNOWN_FORMAT: return "UNKNOWN_FORMAT";
        case LEHRNET_HASH_DIFFERS: return "HASH_DIFFERS";
        case LEHRNET_BACKEND_MISSING: return "BACKEND_MISSING";
        case LEHRNET_BACKEND_FAILED: return "BACKEND_FAILED";
        case LEHRNET_BUFFER_TOO_SMALL: return "BUFFER_TOO_SMALL";
        case LEHRNET_BAD_HEATMAP: return "BAD_HEATMAP";
        case LEHRNET_OUT_OF_MEMORY: return "OUT_OF_MEMORY";
        case LEHRNET_INTERNAL: return "INTERNAL";
    }
    return "unknown status";
}

lehrnet_status lehrnet_options_init(lehrnet_options* options, size_t struct_size) noexcept {
    return guarded([&] {
        need(options, "options");
        if (struct_size != sizeof *options) {
            fail(LEHRNET_ABI_MISMATCH, "struct_size is ", struct_size, ", expected ", sizeof *options,
                 ": build against this library's header");
        }
        *options = defaults();
    });
}

lehrnet_status lehrnet_open(const char* bundle, const lehrnet_options* options, uint32_t abi_version,
                            lehrnet_session** session) noexcept {
    return guarded([&] {
        need(session, "session");
        *session = nullptr;
        need(bundle, "bundle");
        if (abi_version != LEHRNET_ABI_VERSION) {
            fail(LEHRNET_ABI_MISMATCH, "the caller was built against version ", abi_version,
                 " of the interface, this library has ", LEHRNET_ABI_VERSION);
        }
        const lehrnet_options usual = defaults();
        if (!options) options = &usual;
        check_options(*options);
        *session = new lehrnet_session(bundle, *options);
    });
}

void lehrnet_close(lehrnet_session* session) noexcept { delete session; }

lehrnet_status lehrnet_describe(const lehrnet_session* session, lehrnet_info* info) noexcept {
    return guarded([&] {
        need(session, "session");
        need(info, "info");
        if (info->struct_size != sizeof *info) {
            fail(LEHRNET_ABI_MISMATCH, "info.struct_size is ", info->struct_size, ", expected ", sizeof *info);
        }
        session->describe(*info);
    });
}

lehrnet_status lehrnet_run(lehrnet_session* session, const lehrnet_image* image, const float* boxes, size_t count,
                           lehrnet_keypoint* keypoints, size_t capacity) noexcept {
    return guarded([&] {
        need(session, "session");
        need(image, "image");
        const lehrnet_item item = {*image, boxes, count};
        session->run_many(&item, 1, keypoints, capacity);
    });
}

lehrnet_status lehrnet_run_many(lehrnet_session* session, const lehrnet_item* items, size_t item_count,
                                lehrnet_keypoint* keypoints, size_t capacity) noexcept {
    return guarded([&] {
        need(session, "session");
        session->run_many(items, item_count, keypoints, capacity);
    });
}

lehrnet_status lehrnet_crop(lehrnet_session* session, const lehrnet_image* image, const float* boxes, size_t count,
                            float* crops, size_t capacity) noexcept {
    return guarded([&] {
        need(session, "session");
        session->crop(image, boxes, count, crops, capacity);
    });
}

lehrnet_status lehrnet_run_network(lehrnet_session* session, const float* crops, size_t count, float* heatmaps,
                                   size_t capacity) noexcept {
    return guarded([&] {
        need(session, "session");
        session->run_network(crops, count, heatmaps, capacity);
    });
}

lehrnet_status lehrnet_profile(lehrnet_session* session, int32_t rounds, lehrnet_step* steps, size_t capacity,
                               size_t* count, double* peak) noexcept {
    return guarded([&] {
        need(session, "session");
        need(count, "count");
        need(peak, "peak");
        if (capacity > 0) need(steps, "steps");
        const std::vector<lehrnet_step> found = session->profile(rounds, *peak);
        std::copy_n(found.begin(), std::min(capacity, found.size()), steps);
        *count = found.size();
    });
}

lehrnet_status lehrnet_decode(const lehrnet_session* session, const float* heatmaps, const float* boxes, size_t count,
                              lehrnet_keypoint* keypoints, size_t capacity) noexcept {
    return guarded([&] {
        need(session, "session");
        session->decode(heatmaps, boxes, count, keypoints, capacity);
    });
}

}  // extern "C"
