// Operators over rows: RMS norm, rotary embedding, SwiGLU.
#include "check.h"
#include "dispatch.h"
#include "parallel.h"
#include "scratch.h"

#include <torch/library.h>

namespace fettle {
namespace {

constexpr int64_t kSlice = 16;

/// RMS norm (Zhang and Sennrich, arXiv 1910.07467): out = x · rstd · weight.
void rmsNormForward(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& out, const at::Tensor& rstd) {
  const int64_t rows = x.size(0), width = x.size(1);
  checkContiguous(x, "x", x.scalar_type(), rows * width);
  checkContiguous(weight, "weight", x.scalar_type(), width);
  checkContiguous(out, "out", x.scalar_type(), rows * width);
  checkContiguous(rstd, "rstd", at::kFloat, rows);
  byType(x, [&]<class T>(T) {
    overRows(rows, kSlice, [&](int64_t i, int64_t n) {
      level().rows<T>().rmsForward(data<T>(x) + i * width, data<T>(weight), static_cast<float>(eps), data<T>(out) + i * width, data<float>(rstd) + i, n, width);
    });
  });
}

void rmsNormBackward(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& rstd, const std::optional<at::Tensor>& residual, const at::Tensor& out, const std::optional<at::Tensor>& weightGrad) {
  const int64_t rows = x.size(0), width = x.size(1);
  checkContiguous(x, "x", x.scalar_type(), rows * width);
  checkContiguous(grad, "grad", x.scalar_type(), rows * width);
  checkContiguous(weight, "weight", x.scalar_type(), width);
  checkContiguous(rstd, "rstd", at::kFloat, rows);
  checkContiguous(out, "out", x.scalar_type(), rows * width);
  if (residual) checkContiguous(*residual, "residual", x.scalar_type(), rows * width);
  if (weightGrad) checkContiguous(*weightGrad, "weight_grad", at::kFloat, width);
  // A trained weight's gradient sums over rows: each slice sums its own, in rows order, whatever thread runs it.
  const int64_t slice = weightGrad ? std::max<int64_t>(kSlice, (rows + 31) / 32) : kSlice;
  static Scratch scratch;
  float* partial = weightGrad ? scratch.floats((rows + slice - 1) / slice * width) : nullptr;
  byType(x, [&]<class T>(T) {
    overRows(rows, slice, [&](int64_t i, int64_t n) {
      float* own = partial ? partial + i / slice * width : nullptr;
      if (own) std::fill_n(own, width, 0.0f);
      const T* past = data<T>(residual);
      level().rows<T>().rmsBackward(data<T>(grad) + i * width, data<T>(x) + i * width, data<T>(weight), data<float>(rstd) + i, past ? past + i * width : nullptr, data<T>(out) + i * width, own, n, width);
    });
  });
  if (partial)
    for (int64_t i = 0; i < rows; i += slice) level().axpy(partial + i / slice * width, data<float>(weightGrad), width, 1);
}

/// Rotary embedding (Su et al., arXiv 2104.09864) of the first `dim` of each of the first `heads` heads, in place.
void rotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, int64_t heads, int64_t headDim, int64_t dim, bool interleaved, bool back) {
  const int64_t rows = x.size(0);
  checkMatrix(x, "x");
  TORCH_CHECK(heads * headDim <= x.size(1) && dim % 2 == 0 && dim <= headDim, "expected ", heads, " heads of ", headDim, " with an even rotated part in rows of ", x.size(1), ", got ", dim);
  checkContiguous(cos, "cos", at::kFloat, rows * (dim / 2));
  checkContiguous(sin, "sin", at::kFloat, rows * (dim / 2));
  byType(x, [&]<class T>(T) {
    overRows(rows, kSlice, [&](int64_t i, int64_t n) {
      level().rows<T>().rotary(data<T>(x) + i * x.stride(0), x.stride(0), data<float>(cos) + i * (dim / 2), data<float>(sin) + i * (dim / 2), n, heads, headDim, dim, interleaved, back ? -1.0f : 1.0f);
    });
  });
}

/// SwiGLU (Shazeer, arXiv 2002.05202): x = [gate | up] → silu(gate) · up.
void swigluForward(const at::Tensor& x, const at::Tensor& out) {
  const int64_t rows = x.size(0), width = x.size(1) / 2;
  checkContiguous(x, "x", x.scalar_type(), rows * width * 2);
  checkContiguous(out, "out", x.scalar_type(), rows * width);
  byType(x, [&]<class T>(T) {
    overRows(rows, kSlice, [&](int64_t i, int64_t n) { level().rows<T>().swigluForward(data<T>(x) + i * 2 * width, data<T>(out) + i * width, n, width); });
  });
}

void swigluBackward(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& out) {
  const int64_t rows = x.size(0), width = x.size(1) / 2;
  checkContiguous(x, "x", x.scalar_type(), rows * width * 2);
  checkContiguous(grad, "grad", x.scalar_type(), rows * width);
  checkContiguous(out, "out", x.scalar_type(), rows * width * 2);
  byType(x, [&]<class T>(T) {
    overRows(rows, kSlice, [&](int64_t i, int64_t n) { level().rows<T>().swigluBackward(data<T>(grad) + i * width, data<T>(x) + i * 2 * width, data<T>(out) + i * 2 * width, n, width); });
  });
}

TORCH_LIBRARY_FRAGMENT(fettle, m) {
  m.def("rms_norm_forward(Tensor x, Tensor weight, float eps, Tensor(a!) out, Tensor(b!) rstd) -> ()", rmsNormForward);
  m.def("rms_norm_backward(Tensor grad, Tensor x, Tensor weight, Tensor rstd, Tensor? residual, Tensor(a!) out, Tensor(b!)? weight_grad) -> ()", rmsNormBackward);
  m.def("rotary_(Tensor(a!) x, Tensor cos, Tensor sin, int heads, int head_dim, int dim, bool interleaved, bool back) -> ()", rotary);
  m.def("swiglu_forward(Tensor x, Tensor(a!) out) -> ()", swigluForward);
  m.def("swiglu_backward(Tensor grad, Tensor x, Tensor(a!) out) -> ()", swigluBackward);
}

}  // namespace
}  // namespace fettle
