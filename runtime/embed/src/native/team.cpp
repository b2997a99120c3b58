#include "team.h"

#ifdef _WIN32
#include <process.h>
#define getpid _getpid
#else
#include <unistd.h>
#endif

namespace lehrnet::native {
namespace {

// Some ten microseconds: a step between two meetings takes longer than waking up, rarely much longer than this.
constexpr int LOOKS = 2000;

inline void breathe() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

void Team::Signal::raise() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        value_.fetch_add(1, std::memory_order_release);
    }
    raised_.notify_all();
}

void Team::Signal::wait_while(unsigned value) {
    for (int look = 0; look < LOOKS; ++look) {
        if (now() != value) return;
        breathe();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    raised_.wait(lock, [&] { return now() != value; });
}

Team::Team(int size) : process_(getpid()) {
    try {
        for (int member = 1; member < size; ++member) threads_.emplace_back([this, member] { serve(member); });
    } catch (...) {
        over_ = true;
        begun_.raise();
        for (std::thread& thread : threads_) thread.join();
        throw;
    }
}

bool Team::usable() const { return threads_.empty() || process_ == getpid(); }

Team::~Team() {
    over_ = true;
    begun_.raise();
    for (std::thread& thread : threads_) thread.join();
}

void Team::run_any(int count, Call call, const void* work) {
    if (count <= 1 || threads_.empty()) {
        for (int member = 0; member < count; ++member) call(work, member);
        return;
    }
    call_ = call;
    work_ = work;
    count_ = count;
    left_.store(static_cast<int>(threads_.size()), std::memory_order_relaxed);
    const unsigned before = ended_.now();
    begun_.raise();
    call(work, 0);
    ended_.wait_while(before);
}

void Team::serve(int member) {
    unsigned seen = 0;
    for (;;) {
        begun_.wait_while(seen);
        ++seen;
        if (over_) return;
        if (member < count_) call_(work_, member);
        if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) ended_.raise();
    }
}

void Team::meet(int count) {
    if (count <= 1) return;
    const unsigned before = met_.now();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 < count) {
        met_.wait_while(before);
        return;
    }
    arrived_.store(0, std::memory_order_relaxed);
    met_.raise();
}

}  // namespace lehrnet::native
