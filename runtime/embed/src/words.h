// Text that came from outside, made fit for a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lehrnet {

// The length of the UTF-8 character that `text` begins with; 0 where it begins with none.
std::size_t utf8_length(std::string_view text);

// Whether it is UTF-8 without a character that steers: controls (lines and tabs may be allowed), C1, changes of the
// writing's direction.
bool is_plain(std::string_view text, bool lines_allowed);

bool ends_with(const std::string& text, const std::string& end);

// `from` into `size` bytes (4 or more), with an end: what is not plain stands as \xHH, and what is too long ends in "...". It
// takes no memory.
void write_plain(const char* from, char* to, std::size_t size) noexcept;

// At most 80 bytes of it, for a place in a sentence.
std::string clipped(const std::string& text);

}  // namespace lehrnet
