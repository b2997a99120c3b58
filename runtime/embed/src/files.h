// A file that is to be read once: what is checked is what is used, whatever happens to its name meanwhile.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#ifdef _WIN32
#include <fstream>
#endif

namespace lehrnet {

class File {
public:
    // Failure (LEHRNET_BAD_BUNDLE) unless it is a regular file, or a link to one, that can be read.
    explicit File(const std::filesystem::path& path);
    ~File();
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    std::uint64_t size() const { return size_; }
    // All of it; look at size() before.
    std::vector<unsigned char> content();

private:
    [[noreturn]] void refuse(const char* reason) const;

    std::filesystem::path path_;
    std::uint64_t size_ = 0;
#ifdef _WIN32
    std::ifstream stream_;
#else
    int descriptor_ = -1;
#endif
};

}  // namespace lehrnet
