// The allocator of rank workers: blocks that a step frees are found again by the next one.
//
// torch asks glibc for aligned memory, and glibc 2.36's posix_memalign searches for size + alignment, trims the rest and so
// does not find the very block that the same request freed before: a step then touches new pages all the time. Asking
// for plain memory and aligning it here lets equal requests reuse equal blocks. Large requests are rounded up to eight sizes
// a doubling, because the number of tokens differs a little from step to step, and lie on huge pages where allowed.
#include "engine.h"

#include <c10/core/CPUAllocator.h>
#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <string>

namespace fettle {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kLarge = 256 << 10;
constexpr size_t kHugePage = 2 << 20;

size_t roundedUp(size_t bytes) {
  if (bytes < kLarge) return bytes;
  size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

/// Bytes that tensors hold, and the most that they held since somebody looked.
std::atomic<int64_t> held{0}, most{0};

void count(int64_t bytes) {
  int64_t now = held.fetch_add(bytes, std::memory_order_relaxed) + bytes, before = most.load(std::memory_order_relaxed);
  while (now > before && !most.compare_exchange_weak(before, now, std::memory_order_relaxed)) {}
}

/// The malloc block of a tensor's memory stands in the word before it.
void release(void* data) {
  if (!data) return;
  void* block = static_cast<void**>(data)[-1];
  count(-static_cast<int64_t>(malloc_usable_size(block)));
  std::free(block);
}

class ReusingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &release, c10::Device(c10::DeviceType::CPU)};
    size_t size = roundedUp(bytes);
    void* block = size < bytes ? nullptr : std::malloc(size + kAlignment + sizeof(void*));
    if (!block) throw CodedError("native.memory", "not enough memory for " + std::to_string(bytes) + " bytes");
    count(static_cast<int64_t>(malloc_usable_size(block)));
    auto address = (reinterpret_cast<uintptr_t>(block) + sizeof(void*) + kAlignment - 1) / kAlignment * kAlignment;
    void* data = reinterpret_cast<void*>(address);
    static_cast<void**>(data)[-1] = block;
    if (size >= 2 * kHugePage) adviseHugePages(address, size);
    return {data, data, &release, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t count) const override { default_copy_data(to, from, count); }

 private:
  static void adviseHugePages(uintptr_t address, size_t size) {
    uintptr_t begin = (address + kHugePage - 1) / kHugePage * kHugePage, end = (address + size) / kHugePage * kHugePage;
    if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  }
};

/// tuneAllocator(): keeps freed memory in the process and makes it reusable. True when the C library took the settings.
napi_value tuneAllocator(Args& args) {
  static ReusingAllocator allocator;
  bool done = mallopt(M_MMAP_MAX, 0) == 1;
  done = mallopt(M_TRIM_THRESHOLD, 2147483647) == 1 && done;
  done = mallopt(M_TOP_PAD, 64 << 20) == 1 && done;
  c10::SetCPUAllocator(&allocator, 1);
  return args.makeBool(done);
}

/// trimAllocator(): gives free memory back to the kernel.
napi_value trimAllocator(Args& args) { return args.makeBool(malloc_trim(0) == 1); }

/// heap(): [bytes in use, bytes held by the allocator]
napi_value heap(Args& args) {
  struct mallinfo2 info = mallinfo2();
  return args.make(std::vector<int64_t>{static_cast<int64_t>(info.uordblks + info.hblkhd), static_cast<int64_t>(info.arena + info.hblkhd)});
}

/// tensorBytes(): [bytes in tensors that this allocator made, the most since the last call]
napi_value tensorBytes(Args& args) {
  int64_t now = held.load(std::memory_order_relaxed);
  return args.make(std::vector<int64_t>{now, std::max(now, most.exchange(now, std::memory_order_relaxed))});
}

}  // namespace

void defineAllocator(napi_env env, napi_value exports) {
  define(env, exports, "tuneAllocator", guarded<tuneAllocator>);
  define(env, exports, "trimAllocator", guarded<trimAllocator>);
  define(env, exports, "heap", guarded<heap>);
  define(env, exports, "tensorBytes", guarded<tensorBytes>);
}

}  // namespace fettle
