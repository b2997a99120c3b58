// SHA-256 (FIPS 180-4).
#pragma once

#include <cstddef>
#include <string>

namespace lehrnet {

// In lower-case hex.
std::string sha256(const unsigned char* data, std::size_t size);

}  // namespace lehrnet
