// Threads that work on one thing together: they wait briefly for each other, then sleep.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace lehrnet::native {

class Team {
public:
    // The caller of run() is one of them.
    explicit Team(int size);
    ~Team();
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    // Whether its threads are in this process.
    bool usable() const;
    int size() const { return static_cast<int>(threads_.size()) + 1; }
    // work(0) to work(count - 1), each on a thread of its own; returns when all have. They may call meet(count).
    template <class Work>
    void run(int count, const Work& work) {
        run_any(count, [](const void* any, int member) { (*static_cast<const Work*>(any))(member); }, &work);
    }
    // Returns when `count` members have called it as often as this one.
    void meet(int count);

private:
    // A number that only grows; one waits until it is another.
    class Signal {
    public:
        unsigned now() const { return value_.load(std::memory_order_acquire); }
        void raise();
        void wait_while(unsigned value);

    private:
        std::atomic<unsigned> value_{0};
        std::mutex mutex_;
        std::condition_variable raised_;
    };

    using Call = void (*)(const void* work, int member);
    void run_any(int count, Call call, const void* work);
    void serve(int member);

    const long process_;
    std::vector<std::thread> threads_;
    Signal begun_, met_;
    Call call_ = nullptr;
    const void* work_ = nullptr;
    int count_ = 0;
    bool over_ = false;
    std::atomic<int> arrived_{0}, left_{0};
    Signal ended_;
};

}  // namespace lehrnet::native
