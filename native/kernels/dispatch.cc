#include "dispatch.h"

#include <ATen/native/CPUBlas.h>
#include <c10/util/BFloat16.h>
#include <torch/library.h>

#include <algorithm>
#include <exception>
#include <string>
#include <vector>

namespace fettle {
namespace {

struct Choice {
  const Level* level;
  bool half;
  bool emulated = false;
};

bool supports(const std::string& name) {
#if defined(__x86_64__)
  if (name == "avx512") return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (name == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return name == "base";
}

const Level* levelNamed(const std::string& name) {
#if defined(__x86_64__)
  if (name == "avx512") return &avx512Level;
  if (name == "avx2") return &avx2Level;
#endif
  return name == "base" ? &baseLevel : nullptr;
}

/// A small product of ones: oneDNN may be built without its microkernels, or be told to use an older instruction set.
bool brgemmWorks() {
  constexpr int64_t rows = 16, depth = 32, width = 32;
  const std::vector<at::BFloat16> ones(depth * width, at::BFloat16(1.0f));
  std::vector<float> sums(rows * width, 0.0f);
  try {
    at::native::cpublas::brgemm(rows, width, depth, depth, width, width, false, ones.data(), ones.data(), sums.data(), true);
    at::native::cpublas::brgemm_release(true);
  } catch (const std::exception&) {
    return false;
  }
  return std::all_of(sums.begin(), sums.end(), [](float sum) { return sum == static_cast<float>(depth); });
}

bool detectHalf() {
#if defined(__x86_64__)
  static const bool found = __builtin_cpu_supports("avx512bf16") && brgemmWorks();
  return found;
#else
  return false;
#endif
}

Choice detect() {
  for (const char* name : {"avx512", "avx2"})
    if (supports(name)) return {levelNamed(name), detectHalf()};
  return {&baseLevel, detectHalf()};
}

Choice& choice() {
  static Choice chosen = detect();
  return chosen;
}

std::string describe(const Choice& c) { return std::string(c.level->name) + "/" + (!c.half ? "own" : c.emulated ? "emulated" : at::native::cpublas::could_pack(at::kBFloat16) ? "amx" : "bf16"); }

/// Sets level and products of bf16: `own` in fp32, `brgemm` on the CPU's instructions, `emulated` by a kernel that reads and
/// writes as brgemm does, for tests, `auto` what the CPU has; returns `level/products`.
std::string useKernels(const std::string& level, const std::string& products) {
  Choice next = detect();
  if (level != "auto") {
    TORCH_CHECK(supports(level), "expected a level that this CPU has (base, avx2, avx512 or auto), got '", level, "'");
    next.level = levelNamed(level);
  }
  TORCH_CHECK(products == "auto" || products == "own" || products == "emulated" || (products == "brgemm" && detectHalf()), "expected 'auto', 'own', 'emulated' or, where the CPU has AVX-512 BF16 or AMX, 'brgemm' for products, got '", products, "'");
  if (products != "auto") next.half = products != "own";
  next.emulated = products == "emulated";
  choice() = next;
  return describe(next);
}

TORCH_LIBRARY_FRAGMENT(fettle, m) {
  m.def("use_kernels(str level, str products) -> str", useKernels);
  m.def("kernels() -> str", [] { return describe(choice()); });
}

}  // namespace

const Level& level() { return *choice().level; }
bool halfInHardware() { return choice().half; }
bool halfEmulated() { return choice().emulated; }

}  // namespace fettle
