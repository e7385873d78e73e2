// Memory that kernels reuse from call to call: it grows when a larger one is asked for and is never given back.
#pragma once
#include "sizes.h"

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

/// Hands out memory that was taken at once, piece by piece, each aligned to a cache line.
class Pieces {
 public:
  explicit Pieces(float* next) : next_(next) {}
  template <class E> E* take(int64_t count) {
    float* taken = next_;
    next_ += roundedUp(divideUp(count * static_cast<int64_t>(sizeof(E)), sizeof(float)), 16);
    return reinterpret_cast<E*>(taken);
  }

 private:
  float* next_;
};

/// Anonymous memory on huge pages where the system has them; `release` takes the same size.
void* mapPages(size_t bytes);
void unmapPages(void* memory, size_t bytes);

}  // namespace fettle
