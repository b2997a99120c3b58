#include "onnxruntime_library.h"

#include <array>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "failure.h"
#include "library.h"

namespace lehrnet {
namespace {

#if defined(_WIN32)
constexpr std::array LIBRARIES = {"onnxruntime.dll"};
#elif defined(__APPLE__)
constexpr std::array LIBRARIES = {"libonnxruntime.dylib"};
#else
constexpr std::array LIBRARIES = {"libonnxruntime.so", "libonnxruntime.so.1"};
#endif

// ONNX Runtime 1.32, for one, sends how it is used to its makers, unless this variable says otherwise when its first
// environment is made. setenv is not safe beside getenv on another thread: it is called once, and only where needed.
void keep_quiet() {
    static std::once_flag once;
    std::call_once(once, [] {
        constexpr const char *name = "ORT_DISABLE_TELEMETRY", *value = "1";
        const char* now = std::getenv(name);
        if (now && std::string(now) == value) return;
#ifdef _WIN32
        _putenv_s(name, value);
#else
        setenv(name, value, 1);
#endif
    });
}

}  // namespace

const OrtApi* load_onnxruntime(const std::string& chosen) {
    std::vector<std::string> libraries(LIBRARIES.begin(), LIBRARIES.end());
    const char* from_environment = std::getenv("LEHRNET_ONNXRUNTIME");
    if (!chosen.empty()) {
        libraries = {chosen};
    } else if (from_environment && *from_environment) {
        libraries = {from_environment};
    }
    keep_quiet();
    std::string reasons;
    for (const std::string& library : libraries) {
        std::string reason;
        const auto base = reinterpret_cast<decltype(&OrtGetApiBase)>(find_symbol(library, "OrtGetApiBase", reason));
        if (!base) {
            reasons += (reasons.empty() ? "" : "; ") + reason;
            continue;
        }
        const OrtApi* api = base()->GetApi(ORT_API_VERSION);
        if (api) return api;
        fail(LEHRNET_BACKEND_MISSING, library, " is ONNX Runtime ", base()->GetVersionString(),
             ", which lacks version ", ORT_API_VERSION, " of its interface: install a newer one");
    }
    fail(LEHRNET_BACKEND_MISSING, "ONNX Runtime was not found (", reasons,
         "): install it, or name its library in $LEHRNET_ONNXRUNTIME or options.runtime_library");
}

}  // namespace lehrnet
