// A strict reader of JSON (RFC 8259), enough for a manifest: no NaN, no key twice, UTF-8. It reads only what it is given.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace lehrnet::json {

class Value {
public:
    using Array = std::vector<Value>;
    using Object = std::map<std::string, Value>;
    std::variant<std::nullptr_t, bool, long long, double, std::string, Array, Object> content;  // 1.0 is a double

    // These throw std::runtime_error, which names the key or the kind that was wanted and what came.
    const Value& operator[](const std::string& key) const;
    const Array& array() const;
    const Object& object() const;
    const std::string& string() const;
    double number() const;
    double number(double lowest, double highest) const;
    long long integer(long long lowest, long long highest) const;
    bool boolean() const;
    bool has(const std::string& key) const;  // and it is not null
};

// std::runtime_error says what is wrong and at which byte.
Value parse(std::string_view text);

}  // namespace lehrnet::json
