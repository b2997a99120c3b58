#include "json.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <locale>
#include <sstream>
#include <stdexcept>

namespace lehrnet::json {
namespace {

constexpr int DEEPEST = 64;

class Reader {
public:
    explicit Reader(std::string_view text) : text_(text) {}

    Value document() {
        Value value = read(0);
        skip_space();
        if (at_ != text_.size()) wrong("more after the end");
        return value;
    }

private:
    [[noreturn]] void wrong(const char* what) const {
        throw std::runtime_error(std::string(what) + " at byte " + std::to_string(at_));
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void skip_space() {
        while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
    }

    bool take(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }

    void expect(char wanted, const char* what) {
        skip_space();
        if (at_ >= text_.size() || text_[at_] != wanted) wrong(what);
        ++at_;
    }

    Value read(int depth) {
        if (depth > DEEPEST) wrong("nested too deeply");
        skip_space();
        switch (peek()) {
            case '{': return {object(depth)};
            case '[': return {array(depth)};
            case '"': return {string()};
            case 't': if (take("true")) return {true}; break;
            case 'f': if (take("false")) return {false}; break;
            case 'n': if (take("null")) return {nullptr}; break;
            default: return {number()};
        }
        wrong("an unknown word");
    }

    Value::Object object(int depth) {
        Value::Object members;
        ++at_;
        skip_space();
        if (take("}")) return members;
        do {
            skip_space();
            if (peek() != '"') wrong("expected a key");
            std::string key = string();
            expect(':', "expected ':'");
            members.insert_or_assign(std::move(key), read(depth + 1));
            skip_space();
        } while (take(","));
        expect('}', "expected ',' or '}'");
        return members;
    }

    Value::Array array(int depth) {
        Value::Array items;
        ++at_;
        skip_space();
        if (take("]")) return items;
        do {
            items.push_back(read(depth + 1));
            skip_space();
        } while (take(","));
        expect(']', "expected ',' or ']'");
        return items;
    }

    std::string string() {
        std::string found;
        for (++at_; at_ < text_.size(); ++at_) {
            const char c = text_[at_];
            if (c == '"') return ++at_, found;
            if (static_cast<unsigned char>(c) < 0x20) wrong("a control character in a string");
            if (c != '\\') {
                found += c;
                continue;
            }
            ++at_;
            escape(found);
        }
        wrong("a string without an end");
    }

    void escape(std::string& found) {
        static constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
        const std::size_t place = letters.find(peek());
        if (peek() != '\0' && place != std::string_view::npos) {
            found += meanings[place];
        } else if (peek() == 'u') {
            unsigned code = hex();
            if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_ + 1, 2) == "\\u") {
                at_ += 2;
                const unsigned low = hex();
                if (low < 0xDC00 || low > 0xDFFF) wrong("half of a surrogate pair");
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            }
            if (code >= 0xD800 && code <= 0xDFFF) wrong("half of a surrogate pair");
            append_utf8(found, code);
        } else {
            wrong("an unknown escape");
        }
    }

    // The four digits after the 'u' that at_ points to; leaves at_ at the last.
    unsigned hex() {
        unsigned code = 0;
        const std::string_view digits = text_.substr(std::min(at_ + 1, text_.size()), 4);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
        if (digits.size() != 4 || error != std::errc() || end != digits.data() + 4) wrong("expected four hex digits");
        at_ += 4;
        return code;
    }

    static void append_utf8(std::string& text, unsigned code) {
        const auto byte = [&text](unsigned value) { text += static_cast<char>(value); };
        if (code < 0x80) return byte(code);
        if (code < 0x800) return byte(0xC0 | code >> 6), byte(0x80 | (code & 0x3F));
        if (code < 0x10000) {
            byte(0xE0 | code >> 12);
        } else {
            byte(0xF0 | code >> 18);
            byte(0x80 | (code >> 12 & 0x3F));
        }
        byte(0x80 | (code >> 6 & 0x3F));
        byte(0x80 | (code & 0x3F));
    }

    double number() {
        if (take("NaN")) return std::numeric_limits<double>::quiet_NaN();
        if (take("Infinity")) return std::numeric_limits<double>::infinity();
        if (take("-Infinity")) return -std::numeric_limits<double>::infinity();
        const std::size_t end = std::min(text_.find_first_not_of("+-.0123456789eE", at_), text_.size());
        const std::string digits(text_.substr(at_, end - at_));
        const bool starts_well = !digits.empty() && (digits[0] == '-' || (digits[0] >= '0' && digits[0] <= '9'));
        std::istringstream stream(digits);  // std::from_chars for double is missing before GCC 11
        stream.imbue(std::locale::classic());
        double value = 0;
        if (!starts_well || !(stream >> value) || stream.peek() != std::istringstream::traits_type::eof()) {
            wrong("expected a value");
        }
        at_ = end;
        return value;
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

template <class Kind>
const Kind& get(const Value& value, const char* name) {
    const Kind* found = std::get_if<Kind>(&value.content);
    if (!found) throw std::runtime_error(std::string("expected ") + name);
    return *found;
}

}  // namespace

Value parse(std::string_view text) { return Reader(text).document(); }

const Value& Value::operator[](const std::string& key) const {
    const Object& members = object();
    const auto found = members.find(key);
    if (found == members.end()) throw std::runtime_error("no \"" + key + "\"");
    return found->second;
}

bool Value::has(const std::string& key) const { return object().count(key) > 0; }
const Value::Array& Value::array() const { return get<Array>(*this, "an array"); }
const Value::Object& Value::object() const { return get<Object>(*this, "an object"); }
const std::string& Value::string() const { return get<std::string>(*this, "a string"); }
double Value::number() const { return get<double>(*this, "a number"); }
bool Value::boolean() const { return get<bool>(*this, "true or false"); }

long long Value::integer(long long lowest, long long highest) const {
    const double value = number();
    if (!(value >= static_cast<double>(lowest) && value <= static_cast<double>(highest)) || value != std::floor(value)) {
        throw std::runtime_error("expected a whole number from " + std::to_string(lowest) + " to " +
                                 std::to_string(highest));
    }
    return static_cast<long long>(value);
}

}  // namespace lehrnet::json
