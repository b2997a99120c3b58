#include "files.h"

#ifndef _WIN32
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#endif

#include "failure.h"

namespace lehrnet {

void File::refuse(const char* reason) const {
    fail(LEHRNET_BAD_BUNDLE, path_.string(), " cannot be read: ", reason, "; copy the bundle again");
}

#ifdef _WIN32

File::File(const std::filesystem::path& path) : path_(path) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(path, ignored)) refuse("it is not a file");
    stream_.open(path, std::ios::binary | std::ios::ate);
    const auto size = stream_ ? static_cast<std::streamoff>(stream_.tellg()) : -1;
    if (size < 0) refuse("it cannot be opened");
    size_ = static_cast<std::uint64_t>(size);
}

File::~File() = default;

std::vector<unsigned char> File::content() {
    std::vector<unsigned char> bytes(static_cast<std::size_t>(size_));
    stream_.seekg(0);
    stream_.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size_));
    if (!stream_) refuse("it ends early");
    return bytes;
}

#else

// O_NONBLOCK: a pipe that nobody writes to is opened at once, and refused.
File::File(const std::filesystem::path& path)
    : path_(path), descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    struct stat facts {};
    if (descriptor_ < 0 || fstat(descriptor_, &facts) != 0) refuse(std::strerror(errno));
    if (!S_ISREG(facts.st_mode)) {
        close(descriptor_);
        refuse("it is not a file");
    }
    size_ = static_cast<std::uint64_t>(facts.st_size);
}

File::~File() { close(descriptor_); }

std::vector<unsigned char> File::content() {
    std::vector<unsigned char> bytes(static_cast<std::size_t>(size_));
    for (std::size_t at = 0; at < bytes.size();) {
        const ssize_t found = pread(descriptor_, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
        if (found < 0 && errno == EINTR) continue;
        if (found < 0) refuse(std::strerror(errno));
        if (found == 0) refuse("it ends early");
        at += static_cast<std::size_t>(found);
    }
    return bytes;
}

#endif

}  // namespace lehrnet
