// A pool of our own, whose regions end when the *tasks* are done, not when every thread has reported: a thread that the
// system has put aside for another program holds nobody up. (OpenMP's barrier waits for all of them; with one other busy
// program on two cores that made a step twenty times slower.)
#include "parallel.h"

#include <ATen/Parallel.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

namespace fettle {
namespace {

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Pool {
 public:
  void run(int64_t tasks, void (*task)(void*, int64_t), void* context, int64_t threads) {
    grow(threads - 1);
    tasks_ = tasks;
    task_ = task;
    context_ = context;
    helpers_ = threads - 1;
    next_.store(0, std::memory_order_relaxed);
    done_.store(0, std::memory_order_relaxed);
    open_.store(true);
    announce();
    work();
    for (int64_t spins = 0; done_.load(std::memory_order_acquire) < tasks; spins++) spins < kPatience ? pause() : std::this_thread::yield();
    // Close, then wait for those who came in: afterwards nobody reads the fields above.
    open_.store(false);
    for (int64_t spins = 0; inside_.load() > 0; spins++) spins < kPatience ? pause() : std::this_thread::yield();
  }

 private:
  /// About as long as the gap between two kernels of a step; then a thread sleeps until the next region.
  static constexpr int64_t kSpins = 20000, kPatience = 2000;

  void announce() {
    epoch_.fetch_add(1);
    if (sleepers_.load() > 0) epoch_.notify_all();
  }

  void grow(int64_t helpers) {
    for (int64_t id = started_; id < helpers; id++) std::thread([this, id] { help(id); }).detach();
    started_ = std::max(started_, helpers);
  }

  void help(int64_t id) {
    uint32_t seen = 0;
    for (;;) {
      seen = await(seen);
      inside_.fetch_add(1);
      if (open_.load() && id < helpers_) work();
      inside_.fetch_sub(1);
    }
  }

  uint32_t await(uint32_t seen) {
    for (int64_t spins = 0; spins < kSpins; spins++) {
      const uint32_t now = epoch_.load(std::memory_order_acquire);
      if (now != seen) return now;
      pause();
    }
    sleepers_.fetch_add(1);
    epoch_.wait(seen);
    sleepers_.fetch_sub(1);
    return epoch_.load(std::memory_order_acquire);
  }

  void work() {
    for (int64_t i = next_.fetch_add(1); i < tasks_; i = next_.fetch_add(1)) {
      task_(context_, i);
      done_.fetch_add(1, std::memory_order_release);
    }
  }

  int64_t tasks_ = 0, helpers_ = 0, started_ = 0;
  void (*task_)(void*, int64_t) = nullptr;
  void* context_ = nullptr;
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<int64_t> done_{0};
  alignas(64) std::atomic<bool> open_{false};
  alignas(64) std::atomic<int64_t> inside_{0};
  alignas(64) std::atomic<uint32_t> epoch_{0};
  std::atomic<int64_t> sleepers_{0};
};

void runOnPool(int64_t tasks, void (*task)(void*, int64_t), void* context, int64_t threads) {
  // Never destroyed: its threads live as long as the process.
  static Pool* pool = new Pool();
  static std::mutex mutex;
  std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
  if (lock.owns_lock()) return pool->run(tasks, task, context, threads);
  // Another JavaScript thread has the pool.
  for (int64_t i = 0; i < tasks; i++) task(context, i);
}

}  // namespace

int64_t threadCount() { return at::get_num_threads(); }

void runTasks(int64_t tasks, void (*task)(void*, int64_t), void* context) {
  const int64_t threads = std::min(threadCount(), tasks);
  if (threads <= 1 || at::in_parallel_region()) {
    for (int64_t i = 0; i < tasks; i++) task(context, i);
  } else {
    runOnPool(tasks, task, context, threads);
  }
}

}  // namespace fettle
