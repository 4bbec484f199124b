// Threads that do numbered pieces of work together, one round of pieces after the other.
//
// Who has nothing left to do sleeps until the round ends. Waiting in a loop would cost the processor time that other
// programs, and the threads that still work, may want.

#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace {

class Team {
   public:
    // run(team, member) in each of up to `threads` threads, this one among them: member is 0, 1, .. Where no more
    // threads can be started, those there are do all the work.
    template <class Run> static void of(int threads, Run run) {
        Team team;
        std::vector<std::thread> others;
        {
            std::lock_guard<std::mutex> counted(team.mutex_);  // no round ends before all are counted
            try {
                for (int i = 1; i < threads; i++) {
                    others.emplace_back([&team, &run, i] { run(team, i); });
                    team.members_++;
                }
            } catch (const std::exception&) {
            }
        }
        run(team, 0);
        for (auto& other : others) other.join();
    }

    // A round: work(0), .. work(pieces - 1), each by the next member that is free. All are done when it returns.
    template <class Work> void each(int pieces, Work work) {
        for (int i; (i = next_++) < pieces;) work(i);
        std::unique_lock<std::mutex> lock(mutex_);
        if (++arrived_ < members_) {
            ended_.wait(lock, [this, round = round_] { return round_ != round; });
        } else {
            arrived_ = 0, next_ = 0, round_++;
            ended_.notify_all();
        }
    }

   private:
    std::mutex mutex_;
    std::condition_variable ended_;
    std::atomic<int> next_{0};
    int members_ = 1, arrived_ = 0;
    unsigned round_ = 0;
};

}  // namespace
