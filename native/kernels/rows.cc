// Operators over rows: norms, rotary embedding, activations.
#include "check.h"
#include "dispatch.h"
#include "parallel.h"
#include "scratch.h"

#include <torch/library.h>

#include <string>

namespace fettle {
namespace {

using at::Tensor;
using Optional = std::optional<at::Tensor>;

constexpr int64_t kSlice = 16;

template <class T> Norm<T> normOf(const Tensor& weight, const Optional& bias, double eps, double offset, bool centred) {
  return {data<T>(weight), data<T>(bias), static_cast<float>(eps), static_cast<float>(offset), centred};
}

/// RMS norm (Zhang and Sennrich, arXiv 1910.07467), or centred layer norm (Ba et al., arXiv 1607.06450); stats [rows, 2]: mean and 1 / deviation.
void normForward(const Tensor& x, const Tensor& weight, const Optional& bias, double eps, double offset, bool centred, const Tensor& out, const Tensor& stats) {
  const int64_t rows = x.size(0), width = x.size(1);
  checkContiguous(x, "x", x.scalar_type(), rows * width);
  checkContiguous(weight, "weight", x.scalar_type(), width);
  if (bias) checkContiguous(*bias, "bias", x.scalar_type(), width);
  checkContiguous(out, "out", x.scalar_type(), rows * width);
  checkContiguous(stats, "stats", at::kFloat, rows * 2);
  byType(x, [&]<class T>(T) {
    const Norm<T> norm = normOf<T>(weight, bias, eps, offset, centred);
    overRows(rows, kSlice, [&](int64_t i, int64_t n) { level().rows<T>().normForward(data<T>(x) + i * width, norm, data<T>(out) + i * width, data<float>(stats) + 2 * i, n, width); });
  });
}

void normBackward(const Tensor& grad, const Tensor& x, const Tensor& weight, const Optional& bias, double eps, double offset, bool centred, const Tensor& stats, const Optional& residual, const Tensor& out,
                  const Optional& weightGrad, const Optional& biasGrad) {
  const int64_t rows = x.size(0), width = x.size(1);
  checkContiguous(x, "x", x.scalar_type(), rows * width);
  checkContiguous(grad, "grad", x.scalar_type(), rows * width);
  checkContiguous(weight, "weight", x.scalar_type(), width);
  checkContiguous(stats, "stats", at::kFloat, rows * 2);
  checkContiguous(out, "out", x.scalar_type(), rows * width);
  if (residual) checkContiguous(*residual, "residual", x.scalar_type(), rows * width);
  if (weightGrad) checkContiguous(*weightGrad, "weight_grad", at::kFloat, width);
  if (biasGrad) checkContiguous(*biasGrad, "bias_grad", at::kFloat, width);
  // A trained weight's gradient sums over rows: each slice sums its own, in rows order, whatever thread runs it.
  const bool learns = weightGrad || biasGrad;
  const int64_t slice = learns ? std::max<int64_t>(kSlice, (rows + 31) / 32) : kSlice;
  static Scratch scratch;
  float* partial = learns ? scratch.floats((rows + slice - 1) / slice * 2 * width) : nullptr;
  byType(x, [&]<class T>(T) {
    const Norm<T> norm = normOf<T>(weight, bias, eps, offset, centred);
    overRows(rows, slice, [&](int64_t i, int64_t n) {
      float* own = partial ? partial + i / slice * 2 * width : nullptr;
      if (own) std::fill_n(own, 2 * width, 0.0f);
      const T* past = data<T>(residual);
      level().rows<T>().normBackward(data<T>(grad) + i * width, data<T>(x) + i * width, norm, data<float>(stats) + 2 * i, past ? past + i * width : nullptr, data<T>(out) + i * width,
                                     weightGrad ? own : nullptr, biasGrad ? own + width : nullptr, n, width);
    });
  });
  for (int64_t i = 0; learns && i < rows; i += slice) {
    const float* own = partial + i / slice * 2 * width;
    if (weightGrad) level().axpy(own, data<float>(weightGrad), width, 1);
    if (biasGrad) level().axpy(own + width, data<float>(biasGrad), width, 1);
  }
}

/// Rotary embedding (Su et al., arXiv 2104.09864) in place: of `groups` groups of `total` heads the first `rotated` turn.
void rotary(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t groups, int64_t rotated, int64_t total, int64_t headDim, int64_t dim, int64_t axes, bool interleaved, bool back) {
  const int64_t rows = x.size(0);
  checkMatrix(x, "x");
  TORCH_CHECK(axes > 0 && rotated <= total && groups * total * headDim <= x.size(1) && dim % (2 * axes) == 0 && dim <= headDim, "expected ", groups, " groups of ", total, " heads of ", headDim,
              " with an even rotated part on ", axes, " axes in rows of ", x.size(1), ", got ", dim);
  checkContiguous(cos, "cos", at::kFloat, rows * (dim / 2));
  checkContiguous(sin, "sin", at::kFloat, rows * (dim / 2));
  const RotatedHeads heads{groups, rotated, total, headDim, dim, axes, interleaved};
  byType(x, [&]<class T>(T) {
    overRows(rows, kSlice, [&](int64_t i, int64_t n) {
      level().rows<T>().rotary(data<T>(x) + i * x.stride(0), x.stride(0), data<float>(cos) + i * (dim / 2), data<float>(sin) + i * (dim / 2), n, heads, back ? -1.0f : 1.0f);
    });
  });
}

Activation activationNamed(const std::string& name) {
  if (name == "silu") return Activation::silu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_tanh") return Activation::geluTanh;
  TORCH_CHECK(name == "relu", "expected silu, gelu, gelu_tanh or relu for 'activation', got '", name, "'");
  return Activation::relu;
}

/// x → f(x); gated: x = [gate | up] → f(gate) · up.
void activate(const Tensor& x, const std::string& name, bool gated, const Tensor& out) {
  const int64_t rows = x.size(0), width = gated ? x.size(1) / 2 : x.size(1);
  const Activation f = activationNamed(name);
  checkContiguous(x, "x", x.scalar_type(), rows * width * (gated ? 2 : 1));
  checkContiguous(out, "out", x.scalar_type(), rows * width);
  byType(x, [&]<class T>(T) {
    overRows(rows, kSlice, [&](int64_t i, int64_t n) { level().rows<T>().activate(data<T>(x) + i * x.size(1), data<T>(out) + i * width, n, width, f, gated); });
  });
}

void activateBackward(const Tensor& grad, const Tensor& x, const std::string& name, bool gated, const Tensor& out) {
  const int64_t rows = x.size(0), width = gated ? x.size(1) / 2 : x.size(1);
  const Activation f = activationNamed(name);
  checkContiguous(x, "x", x.scalar_type(), rows * width * (gated ? 2 : 1));
  checkContiguous(grad, "grad", x.scalar_type(), rows * width);
  checkContiguous(out, "out", x.scalar_type(), x.numel());
  byType(x, [&]<class T>(T) {
    overRows(rows, kSlice, [&](int64_t i, int64_t n) { level().rows<T>().activateBackward(data<T>(grad) + i * width, data<T>(x) + i * x.size(1), data<T>(out) + i * x.size(1), n, width, f, gated); });
  });
}

TORCH_LIBRARY_FRAGMENT(fettle, m) {
  m.def("norm_forward(Tensor x, Tensor weight, Tensor? bias, float eps, float offset, bool centred, Tensor(a!) out, Tensor(b!) stats) -> ()", normForward);
  m.def("norm_backward(Tensor grad, Tensor x, Tensor weight, Tensor? bias, float eps, float offset, bool centred, Tensor stats, Tensor? residual, Tensor(a!) out, Tensor(b!)? weight_grad, Tensor(c!)? bias_grad) -> ()", normBackward);
  m.def("rotary_(Tensor(a!) x, Tensor cos, Tensor sin, int groups, int rotated, int total, int head_dim, int dim, int axes, bool interleaved, bool back) -> ()", rotary);
  m.def("activate(Tensor x, str activation, bool gated, Tensor(a!) out) -> ()", activate);
  m.def("activate_backward(Tensor grad, Tensor x, str activation, bool gated, Tensor(a!) out) -> ()", activateBackward);
}

}  // namespace
}  // namespace fettle
