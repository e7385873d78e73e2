// What kernels ask of their arguments, in one vocabulary, and the step from a tensor's type to a kernel's.
#pragma once
#include "levels/level.h"

#include <ATen/core/Tensor.h>

namespace fettle {

inline bool isHalf(const at::Tensor& t) { return t.scalar_type() == at::kBFloat16; }

/// A CPU matrix of fp32 or bf16 whose rows lie in one piece.
inline void checkMatrix(const at::Tensor& t, const char* name, int64_t rows = -1, int64_t columns = -1) {
  TORCH_CHECK(t.device().is_cpu() && (t.scalar_type() == at::kFloat || isHalf(t)), "expected a float32 or bfloat16 tensor on the CPU for '", name, "', got ", t.scalar_type(), " on ", t.device());
  TORCH_CHECK(t.dim() == 2 && (t.size(1) <= 1 || t.stride(1) == 1), "expected a matrix with rows in one piece for '", name, "', got shape ", t.sizes(), " strides ", t.strides());
  TORCH_CHECK((rows < 0 || t.size(0) == rows) && (columns < 0 || t.size(1) == columns), "expected [", rows, ", ", columns, "] for '", name, "', got ", t.sizes());
}

inline void checkSame(const at::Tensor& t, const char* name, const at::Tensor& other) {
  TORCH_CHECK(t.scalar_type() == other.scalar_type(), "expected ", other.scalar_type(), " for '", name, "', got ", t.scalar_type());
}

inline void checkContiguous(const at::Tensor& t, const char* name, at::ScalarType type, int64_t numel) {
  TORCH_CHECK(t.device().is_cpu() && t.scalar_type() == type && t.is_contiguous() && t.numel() == numel, "expected ", numel, " contiguous elements of ", type, " on the CPU for '", name, "', got ", t.scalar_type(), " ", t.sizes());
}

template <class T> T* data(const at::Tensor& t) { return static_cast<T*>(t.data_ptr()); }
template <class T> T* data(const std::optional<at::Tensor>& t) { return t && t->defined() ? data<T>(*t) : nullptr; }

/// Calls body with a value of the element type: body(float{}) or body(bf16{}).
template <class Body> void byType(const at::Tensor& t, const Body& body) {
  if (isHalf(t)) body(bf16{});
  else body(float{});
}

}  // namespace fettle
