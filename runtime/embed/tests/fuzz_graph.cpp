// The look through an ONNX file's bytes, and the words of an error, on any bytes.
#include <cstdlib>
#include <cstring>
#include <string>

#include "../src/onnx_graph.h"
#include "../src/words.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    lehrnet::wrong_graph(data, size);
    const std::string text(reinterpret_cast<const char*>(data), size);
    char shown[64];
    lehrnet::write_plain(text.c_str(), shown, sizeof shown);
    if (!std::memchr(shown, 0, sizeof shown) || !lehrnet::is_plain(shown, false)) std::abort();
    return 0;
}
