#include "scratch.h"

#include <sys/mman.h>

#include <new>

namespace fettle {
namespace {
constexpr size_t kHuge = size_t(2) << 20, kSmall = size_t(64) << 10;
size_t roundUp(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }
}  // namespace

void* mapPages(size_t bytes) {
  // Over-maps by one huge page and cuts the ends off, so that the block starts on a huge page.
  const size_t wanted = roundUp(bytes, 4096), mapped = wanted + kHuge;
  char* start = static_cast<char*>(mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (start == MAP_FAILED) throw std::bad_alloc();
  char* aligned = reinterpret_cast<char*>(roundUp(reinterpret_cast<size_t>(start), kHuge));
  if (aligned > start) munmap(start, aligned - start);
  munmap(aligned + wanted, start + mapped - (aligned + wanted));
#ifdef MADV_HUGEPAGE
  if (wanted >= kHuge) madvise(aligned, wanted, MADV_HUGEPAGE);
#endif
  return aligned;
}

void unmapPages(void* memory, size_t bytes) {
  if (memory) munmap(memory, roundUp(bytes, 4096));
}

float* Scratch::floats(int64_t count) {
  const size_t bytes = static_cast<size_t>(count) * sizeof(float);
  if (bytes > bytes_) {
    unmapPages(memory_, bytes_);
    memory_ = nullptr;
    bytes_ = 0;
    // Whole huge pages but for the smallest: a fault or two when a longer row asks for more, not one for each 4 KiB.
    const size_t grown = bytes > kSmall ? roundUp(bytes, kHuge) : kSmall;
    memory_ = mapPages(grown);
    bytes_ = grown;
  }
  return static_cast<float*>(memory_);
}

Scratch::~Scratch() { unmapPages(memory_, bytes_); }

}  // namespace fettle
