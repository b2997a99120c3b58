// The manifest's reader on any bytes: it answers or refuses.
#include <cmath>
#include <cstdlib>

#include "../src/bundle.h"
#include "../src/failure.h"
#include "../src/words.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        const lehrnet::Manifest read = lehrnet::read_manifest({reinterpret_cast<const char*>(data), size}, "auto", "fuzz");
        const lehrnet::Spec& spec = read.spec;
        for (const double each : spec.std) {
            if (!(each > 0) || !std::isfinite(static_cast<float>(1 / (255 * each)))) std::abort();
        }
        if (spec.input_height % 32 || spec.input_width % 32 || !std::isfinite(spec.padding) || spec.joints.size() > 17) {
            std::abort();
        }
        if (read.file.find('/') != std::string::npos || !lehrnet::is_plain(read.note, true)) std::abort();
    } catch (const lehrnet::Failure&) {
    }
    return 0;
}
