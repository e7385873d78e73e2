// What a profile reads again and again while a step runs: cheap enough to be asked at every block.
#include "engine.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>

namespace fettle {
namespace {

/// minorFaults(): of this process so far.
napi_value minorFaults(Args& args) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return args.make(static_cast<double>(usage.ru_minflt));
}

/// residentBytes(): [resident, of these the pages of files]. The file stays open: opening it costs more than reading it.
napi_value residentBytes(Args& args) {
  static const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  static const int64_t page = sysconf(_SC_PAGESIZE);
  char text[128];
  ssize_t length = file < 0 ? -1 : pread(file, text, sizeof(text) - 1, 0);
  if (length <= 0) throw CodedError("native.memory", "the system does not say how much memory this process holds: /proc/self/statm cannot be read");
  text[length] = 0;
  char* at = text;
  std::strtoll(at, &at, 10);
  int64_t resident = std::strtoll(at, &at, 10), shared = std::strtoll(at, &at, 10);
  return args.make(std::vector<int64_t>{resident * page, shared * page});
}

/// deviceBytes(index): [bytes in tensors of a CUDA device, the most since the last call, bytes that its allocator holds]
napi_value deviceBytes(Args& args) {
  auto index = static_cast<c10::DeviceIndex>(args.integer(0));
  auto* allocator = c10::getDeviceAllocator(c10::DeviceType::CUDA);
  auto stats = allocator->getDeviceStats(index);
  allocator->resetPeakStats(index);
  // The first of each is the sum over small and large blocks.
  return args.make(std::vector<int64_t>{stats.allocated_bytes[0].current, stats.allocated_bytes[0].peak, stats.reserved_bytes[0].current});
}

/// synchronize(index): waits until a CUDA device has done all that it was given.
napi_value synchronize(Args& args) {
  c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).synchronizeDevice(static_cast<c10::DeviceIndex>(args.integer(0)));
  return args.none();
}

}  // namespace

void defineUsage(napi_env env, napi_value exports) {
  define(env, exports, "minorFaults", guarded<minorFaults>);
  define(env, exports, "residentBytes", guarded<residentBytes>);
  define(env, exports, "deviceBytes", guarded<deviceBytes>);
  define(env, exports, "synchronize", guarded<synchronize>);
}

}  // namespace fettle
