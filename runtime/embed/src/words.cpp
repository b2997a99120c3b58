#include "words.h"

#include <cstring>

namespace lehrnet {
namespace {

constexpr std::size_t LONGEST_QUOTE = 80;

unsigned byte(char c) { return static_cast<unsigned char>(c); }

bool steers(unsigned code) {
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x200E || code == 0x200F ||
           (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069) || code == 0xFEFF;
}

// Of one whole character.
unsigned code_of(std::string_view character) {
    unsigned code = byte(character[0]);
    if (character.size() > 1) code &= 0x7F >> character.size();
    for (const char each : character.substr(1)) code = code << 6 | (byte(each) & 0x3F);
    return code;
}

}  // namespace

std::size_t utf8_length(std::string_view text) {
    if (text.empty()) return 0;
    const unsigned first = byte(text[0]);
    if (first < 0x80) return 1;
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
    for (const char each : text.substr(1, length - 1)) {
        if ((byte(each) & 0xC0) != 0x80) return 0;
    }
    const unsigned code = code_of(text.substr(0, length));
    const bool shortest = code >= (length == 4 ? 0x10000u : length == 3 ? 0x800u : 0x80u);
    return shortest && code <= 0x10FFFF && !(code >= 0xD800 && code <= 0xDFFF) ? length : 0;
}

bool is_plain(std::string_view text, bool lines_allowed) {
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        if (length == 0) return false;
        const unsigned code = code_of(text.substr(0, length));
        if (steers(code) && !(lines_allowed && (code == '\n' || code == '\t'))) return false;
        text.remove_prefix(length);
    }
    return true;
}

void write_plain(const char* from, char* to, std::size_t size) noexcept {
    static constexpr char digits[] = "0123456789abcdef", rest[] = "...";
    std::string_view text(from);
    std::size_t at = 0;
    const auto room = [&](std::size_t wanted) { return at + wanted + sizeof rest <= size; };
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        const bool plain = length > 0 && !steers(code_of(text.substr(0, length)));
        const std::size_t taken = length > 0 ? length : 1;
        if (!room(plain ? taken : 4 * taken)) {
            std::memcpy(to + at, rest, sizeof rest);
            return;
        }
        for (std::size_t i = 0; i < taken; ++i) {
            const unsigned each = byte(text[i]);
            if (plain) {
                to[at++] = text[i];
            } else {
                const char escape[] = {'\\', 'x', digits[each >> 4], digits[each & 15]};
                std::memcpy(to + at, escape, sizeof escape);
                at += sizeof escape;
            }
        }
        text.remove_prefix(taken);
    }
    to[at] = '\0';
}

std::string clipped(const std::string& text) {
    return text.size() <= LONGEST_QUOTE ? text : text.substr(0, LONGEST_QUOTE) + "...";
}

bool ends_with(const std::string& text, const std::string& end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace lehrnet
