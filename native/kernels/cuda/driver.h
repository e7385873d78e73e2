// CUDA's driver and NVRTC, opened at run time: nothing here needs a header or a library of CUDA's when it is built.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace fettle::cuda {

/// What NVRTC made of one file: machine code for one architecture, and each kernel's name in it.
struct Image {
  std::string code;
  std::vector<std::pair<std::string, std::string>> names;
};

/// The folder of the kernels' text, the folder where machine code is kept between runs, and the candidates for NVRTC's library.
void setUp(const std::string& sources, const std::string& cache, const std::vector<std::string>& libraries);

/// NVRTC's version such as `13.2` and the architectures that it compiles for, such as 90.
std::string compilerVersion();
std::vector<int> architectures();

/// One file of kernels for an architecture such as `sm_90` (machine code) or `compute_90` (PTX, which the driver compiles).
/// Taken from the cache where it lies there; `log` receives what the compiler said, else nothing.
Image compile(const std::string& file, const std::string& architecture, std::string* log = nullptr);

/// The architecture to compile for on a device of this capability, such as 90.
std::string architectureFor(int capability);

/// Compute capability of a device: 90 is 9.0.
int capability(int device);

struct Launch {
  std::string file, expression;
  unsigned grid[3], block[3];
};
/// Runs a kernel on a device's stream; `arguments` point to its arguments in order.
void launchOnDevice(const Launch& launch, int device, void* stream, void** arguments);

}  // namespace fettle::cuda
