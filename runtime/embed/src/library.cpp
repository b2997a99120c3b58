#include "library.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace lehrnet {

#ifdef _WIN32

void* find_symbol(const std::string& library, const char* symbol, std::string& reason) {
    HMODULE handle = LoadLibraryA(library.c_str());
    void* found = handle ? reinterpret_cast<void*>(GetProcAddress(handle, symbol)) : nullptr;
    if (!found) reason = library + ": Windows error " + std::to_string(GetLastError());
    return found;
}

#else

void* find_symbol(const std::string& library, const char* symbol, std::string& reason) {
    void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    void* found = handle ? dlsym(handle, symbol) : nullptr;
    if (!found) {
        const char* error = dlerror();
        reason = error ? error : library + " has no " + symbol;
    }
    return found;
}

#endif

}  // namespace lehrnet
