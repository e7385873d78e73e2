// Memory that kernels reuse from call to call: it grows when a larger one is asked for and is never given back.
#pragma once
#include <cstddef>
#include <cstdint>

namespace fettle {

class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  ~Scratch();
  /// At least `count` floats, aligned to a cache line. What was there before is lost when it grows.
  float* floats(int64_t count);

 private:
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

/// Anonymous memory on huge pages where the system has them; `release` takes the same size.
void* mapPages(size_t bytes);
void unmapPages(void* memory, size_t bytes);

}  // namespace fettle
