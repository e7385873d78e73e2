#include "launch.h"

#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <torch/library.h>

namespace fettle::cuda {
namespace {

using Simulate = int (*)(const char*, const unsigned*, const unsigned*, void**);
Simulate simulator = nullptr;

/// CUDA's handle of a stream. Versions of libtorch whose streams do not tell theirs have it in c10::cuda::CUDAStream, which is
/// a c10::Stream and nothing more.
void* handleOf(const c10::Stream& stream) {
  using Handle = void* (*)(const c10::Stream*);
  static const auto own = reinterpret_cast<Handle>(dlsym(RTLD_DEFAULT, "_ZNK3c104cuda10CUDAStream6streamEv"));
  return own ? own(&stream) : stream.native_handle();
}

void simulate(const Launch& launch, void** arguments) {
  TORCH_CHECK(simulator, "expected a tensor on a GPU for the kernel ", launch.expression, ", got one on the CPU; run the plain form of the blocks there");
  const int result = simulator(launch.expression.c_str(), launch.grid, launch.block, arguments);
  TORCH_CHECK(result != 1, "no kernel '", launch.expression, "' is simulated");
  TORCH_CHECK(result == 0, "threads of '", launch.expression, "' do not meet at a barrier");
}

/// Kernels of tensors on the CPU run in this library (simulate/simulate.cpp) from now on.
void useSimulator(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  TORCH_CHECK(library, "the library of simulated kernels does not open: ", dlerror());
  simulator = reinterpret_cast<Simulate>(dlsym(library, "fettleSimulate"));
  TORCH_CHECK(simulator, "expected fettleSimulate in ", path);
}

/// What the compiler said, and the number of bytes that it made.
std::tuple<std::string, int64_t> compileFile(const std::string& file, const std::string& architecture) {
  std::string log;
  const Image image = compile(file, architecture, &log);
  return {log, static_cast<int64_t>(image.code.size())};
}

std::vector<int64_t> architectureList() {
  const std::vector<int> all = architectures();
  return {all.begin(), all.end()};
}

TORCH_LIBRARY_FRAGMENT(fettle_cuda, m) {
  m.def("set_up(str sources, str cache, str[] libraries) -> ()", [](const std::string& sources, const std::string& cache, const std::vector<std::string>& libraries) { setUp(sources, cache, libraries); });
  m.def("simulate(str library) -> ()", useSimulator);
  m.def("compile(str file, str architecture) -> (str, int)", compileFile);
  m.def("compiler_version() -> str", compilerVersion);
  m.def("architectures() -> int[]", architectureList);
  m.def("capability(int device) -> int", [](int64_t device) -> int64_t { return capability(static_cast<int>(device)); });
}

}  // namespace

void run(const Launch& launch, const at::Tensor& on, void** arguments) {
  if (on.device().is_cpu()) return simulate(launch, arguments);
  TORCH_CHECK(on.device().is_cuda(), "expected a tensor on a GPU for the kernel ", launch.expression, ", got one on ", on.device());
  // The guard makes the device's context current, which the driver launches in.
  const c10::DeviceGuard guard(on.device());
  const c10::Stream stream = c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(on.device());
  launchOnDevice(launch, on.device().index(), handleOf(stream), arguments);
}

const char* typeName(const at::Tensor& t) {
  switch (t.scalar_type()) {
    case at::kFloat: return "float";
    case at::kBFloat16: return "bf16";
    case at::kHalf: return "f16";
    default: TORCH_CHECK(false, "expected float32, bfloat16 or float16 for kernels of the GPU, got ", t.scalar_type());
  }
}

int packOf(const at::Tensor& x, std::initializer_list<const void*> addresses, std::initializer_list<int64_t> distances) {
  const int numbers = static_cast<int>(16 / x.element_size());
  for (const void* address : addresses)
    if (reinterpret_cast<uintptr_t>(address) % 16 != 0) return 1;
  for (int64_t distance : distances)
    if (distance % numbers != 0) return 1;
  return numbers;
}

void expect(const at::Tensor& t, const char* name, const at::Tensor& on, at::ScalarType type, int64_t numel) {
  TORCH_CHECK(t.device() == on.device() && t.scalar_type() == type && t.is_contiguous() && t.numel() == numel, "expected ", numel, " contiguous elements of ", type, " on ", on.device(), " for '", name, "', got ", t.scalar_type(), " ", t.sizes(), " on ", t.device());
}

}  // namespace fettle::cuda
