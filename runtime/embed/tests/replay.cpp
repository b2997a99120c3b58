// A fuzzer without libFuzzer: runs what lies in a folder, so that every compiler's tests see what was once found.
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int count, char** arguments) {
    if (count != 2) return 2;
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(arguments[1])) {
        const std::vector<std::uint8_t> bytes = read_array<std::uint8_t>(entry.path().string());
        LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
        ++files;
    }
    std::printf("%d inputs\n", files);
    return files > 0 ? 0 : 1;
}
