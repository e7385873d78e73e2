// From tensors to a launch: which device, which stream, which of a kernel's forms.
#pragma once
#include "driver.h"
#include "rows.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <optional>
#include <string>

namespace fettle::cuda {

using Optional = std::optional<at::Tensor>;

/// A kernel of a file and the size of its launch.
struct Plan {
  const char* file;
  std::string expression;
  int64_t blocks;
  unsigned x, y = 1;
};

/// Runs a kernel where `on` lies: on its GPU's current stream, or simulated where it is the CPU's.
void run(const Launch& launch, const at::Tensor& on, void** arguments);

/// Arguments have exactly the types of the kernel's parameters; no block, no launch.
template <class... A> void launch(const Plan& plan, const at::Tensor& on, A... arguments) {
  if (plan.blocks == 0) return;
  TORCH_CHECK(plan.blocks <= 0x7fffffff, "expected at most 2^31 - 1 blocks, got ", plan.blocks);
  void* pointers[] = {static_cast<void*>(&arguments)...};
  run({plan.file, plan.expression, {static_cast<unsigned>(plan.blocks), 1, 1}, {plan.x, plan.y, 1}}, on, pointers);
}

/// Threads for rows of `width` numbers, `each` at a time: whole warps.
inline unsigned threadsFor(int64_t width, int each, int64_t most = 256) { return static_cast<unsigned>(std::clamp<int64_t>((width / each + 31) / 32 * 32, 32, most)); }

/// The kernels' name of an element type.
const char* typeName(const at::Tensor& t);
/// 16 bytes at a time where all addresses and all distances between rows allow it, else one number.
int packOf(const at::Tensor& x, std::initializer_list<const void*> addresses, std::initializer_list<int64_t> distances);
/// `kernel<type, pack>`
inline std::string form(const char* kernel, const at::Tensor& t, int pack) { return std::string(kernel) + "<" + typeName(t) + ", " + std::to_string(pack) + ">"; }
inline std::string form(const char* kernel, const at::Tensor& t) { return std::string(kernel) + "<" + typeName(t) + ">"; }

/// `t` has the type and the number of elements asked for, lies in one piece and on `on`'s device.
void expect(const at::Tensor& t, const char* name, const at::Tensor& on, at::ScalarType type, int64_t numel);
inline void expect(const Optional& t, const char* name, const at::Tensor& on, at::ScalarType type, int64_t numel) {
  if (t) expect(*t, name, on, type, numel);
}

/// Pointers as kernels take them: what they point to is the kernel's business.
inline void* address(const at::Tensor& t) { return t.data_ptr(); }
inline void* address(const Optional& t) { return t ? t->data_ptr() : nullptr; }

}  // namespace fettle::cuda
