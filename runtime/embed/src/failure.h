// Errors inside the library: one exception, which api.cpp turns into a status and a sentence.
#pragma once

#include <lehrnet.h>

#include <locale>
#include <sstream>
#include <stdexcept>

namespace lehrnet {

class Failure : public std::runtime_error {
public:
    Failure(lehrnet_status status, const std::string& message) : std::runtime_error(message), status(status) {}
    lehrnet_status status;
};

// fail(LEHRNET_NOT_FOUND, "no bundle at ", path);
template <class... Parts>
[[noreturn]] void fail(lehrnet_status status, const Parts&... parts) {
    std::ostringstream text;
    text.imbue(std::locale::classic());  // no "1,024" where the program's locale says so
    (text << ... << parts);
    throw Failure(status, text.str());
}

}  // namespace lehrnet
