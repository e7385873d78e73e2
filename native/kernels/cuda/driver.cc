// Loads compiled kernels and launches them through CUDA's driver, in the context that libtorch made.
#include "driver.h"

#include "symbols.h"

#include <c10/util/Exception.h>
#include <dlfcn.h>

#include <map>
#include <mutex>

namespace fettle::cuda {
namespace {

using Module = void*;
using Function = void*;

struct Driver {
  int (*init)(unsigned);
  int (*errorText)(int, const char**);
  int (*getDevice)(int*, int);
  int (*attribute)(int*, int, int);
  int (*loadModule)(Module*, const void*);
  int (*getFunction)(Function*, Module, const char*);
  int (*launch)(Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**);
};

template <class F> void find(void* library, const char* name, F& function) { findSymbol(library, name, function, "the NVIDIA driver", "install a driver for CUDA 12 or later"); }

const Driver& driver() {
  static const Driver opened = [] {
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    TORCH_CHECK(library, "expected an NVIDIA driver for kernels of the GPU: ", dlerror(), "; run: npx fettle doctor");
    Driver d;
    find(library, "cuInit", d.init);
    find(library, "cuGetErrorString", d.errorText);
    find(library, "cuDeviceGet", d.getDevice);
    find(library, "cuDeviceGetAttribute", d.attribute);
    find(library, "cuModuleLoadData", d.loadModule);
    find(library, "cuModuleGetFunction", d.getFunction);
    find(library, "cuLaunchKernel", d.launch);
    const int result = d.init(0);
    TORCH_CHECK(result == 0, "the NVIDIA driver does not start (", result, "); run: nvidia-smi");
    return d;
  }();
  return opened;
}

void check(int result, const std::string& what) {
  if (result == 0) return;
  const char* text = nullptr;
  driver().errorText(result, &text);
  TORCH_CHECK(false, "CUDA: ", what, ": ", text ? text : "unknown error", " (", result, ")");
}

/// Modules of a device hold all kernels of a file; both live as long as the process.
Function functionOf(const Launch& launch, int device) {
  static std::map<std::pair<int, std::string>, Function> known;
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  const auto found = known.find({device, launch.expression});
  if (found != known.end()) return found->second;
  const Image image = compile(launch.file, architectureFor(capability(device)));
  Module module = nullptr;
  check(driver().loadModule(&module, image.code.c_str()), "loading the kernels of " + launch.file);
  for (const auto& [expression, name] : image.names) {
    Function function = nullptr;
    check(driver().getFunction(&function, module, name.c_str()), "finding " + expression);
    known[{device, expression}] = function;
  }
  TORCH_CHECK((known.count({device, launch.expression}) > 0), "no kernel '", launch.expression, "' in ", launch.file, ".cu");
  return known[{device, launch.expression}];
}

}  // namespace

int capability(int device) {
  constexpr int kMajor = 75, kMinor = 76;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, …_MINOR
  int handle = 0, major = 0, minor = 0;
  check(driver().getDevice(&handle, device), "device " + std::to_string(device));
  check(driver().attribute(&major, kMajor, handle), "compute capability");
  check(driver().attribute(&minor, kMinor, handle), "compute capability");
  return major * 10 + minor;
}

void launchOnDevice(const Launch& launch, int device, void* stream, void** arguments) {
  const auto& [g, b] = std::pair(launch.grid, launch.block);
  check(driver().launch(functionOf(launch, device), g[0], g[1], g[2], b[0], b[1], b[2], 0, stream, arguments, nullptr), "launching " + launch.expression);
}

}  // namespace fettle::cuda
