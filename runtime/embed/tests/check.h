// CHECK(condition), and the count of those that failed as main's result.
#pragma once

#include <lehrnet.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

inline int failures = 0;

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);      \
            ++failures;                                                                       \
        }                                                                                     \
    } while (false)

// That a call gives a status, and a message that holds a phrase.
#define CHECK_FAILS(call, status, phrase)                                                                  \
    do {                                                                                                   \
        const lehrnet_status found_ = (call);                                                              \
        const bool said_ = std::string(lehrnet_last_error()).find(phrase) != std::string::npos;            \
        if (found_ != (status) || !said_) {                                                                \
            std::fprintf(stderr, "%s:%d: %s gave %s (%s)\n", __FILE__, __LINE__, #call,                    \
                         lehrnet_status_name(found_), lehrnet_last_error());                               \
            ++failures;                                                                                    \
        }                                                                                                  \
    } while (false)

inline lehrnet_session* open_fake_session(const std::string& bundle, int max_batch = 32, bool flip = false) {
    lehrnet_options options;
    lehrnet_options_init(&options, sizeof options);
    options.device = "fake";
    options.max_batch = max_batch;
    options.flip = flip;
    lehrnet_session* session = nullptr;
    if (lehrnet_open(bundle.c_str(), &options, LEHRNET_ABI_VERSION, &session) != LEHRNET_OK) {
        std::fprintf(stderr, "%s\n", lehrnet_last_error());
        std::exit(1);
    }
    return session;
}

// A raw array in a file, as NumPy's tofile writes it.
template <class Number>
std::vector<Number> read_array(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});
    std::vector<Number> numbers(bytes.size() / sizeof(Number));
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(numbers.data()));
    return numbers;
}
