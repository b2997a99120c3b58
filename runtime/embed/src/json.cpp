#include "json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <locale>
#include <sstream>
#include <stdexcept>

#include "words.h"

namespace lehrnet::json {
namespace {

constexpr int DEEPEST = 64;

class Reader {
public:
    explicit Reader(std::string_view text) : text_(text) {}

    Value document() {
        for (std::size_t length = 0; at_ < text_.size(); at_ += length) {
            length = utf8_length(text_.substr(at_));
            if (length == 0) wrong("no UTF-8");
        }
        at_ = 0;
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
            default: return number();
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
            if (members.count(key)) wrong("a key that stands twice ends");
            members.emplace(std::move(key), read(depth + 1));
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

    std::size_t digits() {
        const std::size_t start = at_;
        while (peek() >= '0' && peek() <= '9') ++at_;
        if (at_ == start) wrong("expected a value");
        return at_ - start;
    }

    Value number() {
        const std::size_t start = at_;
        take("-");
        const bool zero = peek() == '0';
        const std::size_t count = digits();
        if (zero && count > 1) wrong("a number that begins with 0 ends");
        const std::size_t whole = at_;
        if (take(".")) digits();
        if (take("e") || take("E")) {
            if (!take("+")) take("-");
            digits();
        }
        const std::string text(text_.substr(start, at_ - start));
        if (at_ == whole && count <= 18) return {std::stoll(text)};
        std::istringstream stream(text);  // std::from_chars for double is missing before GCC 11
        stream.imbue(std::locale::classic());
        double value = 0;
        if (!(stream >> value) || !std::isfinite(value)) wrong("a number too large ends");
        return {value};
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

const char* kind_of(const Value& value) {
    static constexpr const char* kinds[] = {"null", "true or false", "a whole number", "a number", "a string", "an array",
                                            "an object"};
    return kinds[value.content.index()];
}

[[noreturn]] void wanted(const std::string& what, const Value& value) {
    throw std::runtime_error("expected " + what + ", found " + kind_of(value));
}

template <class Kind>
const Kind& get(const Value& value, const char* name) {
    const Kind* found = std::get_if<Kind>(&value.content);
    if (!found) wanted(name, value);
    return *found;
}

std::string shown(double value) {
    std::ostringstream text;
    text.imbue(std::locale::classic());
    text << value;
    return text.str();
}

}  // namespace

Value parse(std::string_view text) { return Reader(text).document(); }

const Value& Value::operator[](const std::string& key) const {
    const Object& members = object();
    const auto found = members.find(key);
    if (found == members.end()) throw std::runtime_error("no \"" + key + "\"");
    return found->second;
}

bool Value::has(const std::string& key) const {
    const auto found = object().find(key);
    return found != object().end() && !std::holds_alternative<std::nullptr_t>(found->second.content);
}

const Value::Array& Value::array() const { return get<Array>(*this, "an array"); }
const Value::Object& Value::object() const { return get<Object>(*this, "an object"); }
const std::string& Value::string() const { return get<std::string>(*this, "a string"); }
bool Value::boolean() const { return get<bool>(*this, "true or false"); }

double Value::number() const {
    if (const long long* whole = std::get_if<long long>(&content)) return static_cast<double>(*whole);
    return get<double>(*this, "a number");
}

double Value::number(double lowest, double highest) const {
    const double value = number();
    if (!(value >= lowest && value <= highest)) {
        throw std::runtime_error("expected a number from " + shown(lowest) + " to " + shown(highest) + ", found " +
                                 shown(value));
    }
    return value;
}

long long Value::integer(long long lowest, long long highest) const {
    const std::string range = "a whole number from " + std::to_string(lowest) + " to " + std::to_string(highest);
    const long long* value = std::get_if<long long>(&content);
    if (!value) wanted(range, *this);
    if (*value < lowest || *value > highest) {
        throw std::runtime_error("expected " + range + ", found " + std::to_string(*value));
    }
    return *value;
}

}  // namespace lehrnet::json
