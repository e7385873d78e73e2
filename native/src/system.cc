// The machine: random state, threads, devices and memory.
#include "engine.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <cstring>

namespace fettle {
namespace {

napi_value version(Args& args) { return args.make(std::string(TORCH_VERSION)); }
napi_value cpuCapability(Args& args) { return args.make(at::get_cpu_capability()); }
napi_value threads(Args& args) { return args.make(static_cast<double>(at::get_num_threads())); }

napi_value setThreads(Args& args) {
  int64_t count = args.integer(0);
  if (count < 1) throw CodedError("native.argument", "expected at least 1 thread, got " + std::to_string(count));
  at::set_num_threads(static_cast<int>(count));
  return args.none();
}

napi_value manualSeed(Args& args) {
  at::manual_seed(static_cast<uint64_t>(args.integer(0)));
  return args.none();
}

at::Generator generatorOf(const std::string& name) {
  c10::Device device(name);
  if (device.is_cpu()) return at::detail::getDefaultCPUGenerator();
  return at::globalContext().defaultGenerator(device);
}

/// rngState(device): the state of its default generator as a uint8 tensor.
napi_value rngState(Args& args) {
  auto generator = generatorOf(args.text(0));
  std::lock_guard<std::mutex> lock(generator.mutex());
  return args.make(generator.get_state());
}

napi_value setRngState(Args& args) {
  auto generator = generatorOf(args.text(0));
  std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(args.tensor(1));
  return args.none();
}

napi_value cudaDevices(Args& args) { return args.make(static_cast<double>(at::globalContext().hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0)); }

/// deviceMemory(index): [free, total] bytes. Asks the CUDA runtime that libtorch brought along, so no CUDA header is needed.
napi_value deviceMemory(Args& args) {
  using SetDevice = int (*)(int);
  using GetDevice = int (*)(int*);
  using MemGetInfo = int (*)(size_t*, size_t*);
  auto setDevice = reinterpret_cast<SetDevice>(dlsym(RTLD_DEFAULT, "cudaSetDevice"));
  auto getDevice = reinterpret_cast<GetDevice>(dlsym(RTLD_DEFAULT, "cudaGetDevice"));
  auto memGetInfo = reinterpret_cast<MemGetInfo>(dlsym(RTLD_DEFAULT, "cudaMemGetInfo"));
  size_t free = 0, total = 0;
  int before = 0, index = static_cast<int>(args.integer(0));
  bool answered = setDevice && getDevice && memGetInfo && getDevice(&before) == 0 && setDevice(index) == 0 && memGetInfo(&free, &total) == 0;
  if (setDevice && getDevice) setDevice(before);
  if (!answered) throw CodedError("native.device", "the CUDA runtime does not answer for device " + std::to_string(index));
  return args.make(std::vector<int64_t>{static_cast<int64_t>(free), static_cast<int64_t>(total)});
}

/// hugePages(handle): asks for transparent huge pages under a tensor's memory.
napi_value hugePages(Args& args) {
  auto& tensor = args.tensor(0);
  if (!tensor.device().is_cpu()) throw CodedError("native.argument", "expected a tensor on the CPU, got " + describe(tensor));
  constexpr uintptr_t kHuge = 2 << 20;
  uintptr_t begin = (reinterpret_cast<uintptr_t>(tensor.data_ptr()) + kHuge - 1) & ~(kHuge - 1);
  uintptr_t end = (reinterpret_cast<uintptr_t>(tensor.data_ptr()) + tensor.nbytes()) & ~(kHuge - 1);
  return args.makeBool(end > begin && madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE) == 0);
}

/// dieWithParent(pid): the kernel ends this process when its parent's ends, whatever state it is in. False when that has ended already.
napi_value dieWithParent(Args& args) {
  bool set = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
  return args.makeBool(set && getppid() == static_cast<pid_t>(args.integer(0)));
}

}  // namespace

void defineSystem(napi_env env, napi_value exports) {
  define(env, exports, "version", guarded<version>);
  define(env, exports, "cpuCapability", guarded<cpuCapability>);
  define(env, exports, "threads", guarded<threads>);
  define(env, exports, "setThreads", guarded<setThreads>);
  define(env, exports, "manualSeed", guarded<manualSeed>);
  define(env, exports, "rngState", guarded<rngState>);
  define(env, exports, "setRngState", guarded<setRngState>);
  define(env, exports, "cudaDevices", guarded<cudaDevices>);
  define(env, exports, "deviceMemory", guarded<deviceMemory>);
  define(env, exports, "hugePages", guarded<hugePages>);
  define(env, exports, "dieWithParent", guarded<dieWithParent>);
}

}  // namespace fettle
