// The manifest's reader on any bytes: it answers or refuses.
#include "../src/bundle.h"
#include "../src/failure.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        lehrnet::read_manifest({reinterpret_cast<const char*>(data), size}, "fp32", "fuzz");
    } catch (const lehrnet::Failure&) {
    }
    return 0;
}
