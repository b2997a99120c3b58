// A shared library found at run time.
#pragma once

#include <string>

namespace lehrnet {

// The address of `symbol` in a library by name or path, which stays loaded; nullptr, with the reason, if there is none.
void* find_symbol(const std::string& library, const char* symbol, std::string& reason);

}  // namespace lehrnet
