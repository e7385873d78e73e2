// Linear layers with their LoRA adapter (Hu et al., arXiv 2106.09685), joined parts (q, k, v) included.
//   forward:  u = x Aᵀ;  y = x Wᵀ + Σ_p scale_p · u_p B_pᵀ (+ bias) (+ residual)
//   backward: du_p = scale_p · dy_p B_p;  dx = dy W + du A;  dA += duᵀ x;  dB_p += scale_p · dy_pᵀ u_p;  dW += dyᵀ x
// With dropout the adapter reads another x, `dropped`; then du A is not in dx but in a result of its own, for the caller to mask.
#include "check.h"
#include "dispatch.h"
#include "half.h"
#include "lora.h"
#include "multiply.h"
#include "pages.h"
#include "parallel.h"
#include "scratch.h"

#include <torch/library.h>

namespace fettle {
namespace {

using at::Tensor;
using Optional = std::optional<at::Tensor>;

Matrix matrixOf(const Tensor& t, bool transposed = false) { return {t.data_ptr(), isHalf(t), t.stride(0), transposed}; }
Matrix columnsOf(const Tensor& t, int64_t start, bool transposed = false) {
  return {static_cast<const char*>(t.data_ptr()) + start * t.element_size(), isHalf(t), t.stride(0), transposed};
}
Result resultOf(const Tensor& t) { return {t.data_ptr(), isHalf(t), t.stride(0)}; }

const bf16* packedOf(const Optional& packed, int64_t depth, int64_t columns) {
  if (!packed || !packed->defined()) return nullptr;
  checkContiguous(*packed, "packed", at::kBFloat16, packedElements(depth, columns, panelWidth(columns)));
  return data<bf16>(*packed);
}

/// The adapter's matrices as they lie.
void fewRowsForward(const Tensor& x, const Adapter& adapter, const HalfAdapter& half, const Tensor& u, std::vector<Product>& products) {
  const int64_t n = x.size(0), in = x.size(1);
  for (size_t p = 0; p < adapter.b.size(); p++) {
    const Tensor& b = adapter.b[p];
    const Tensor a = adapter.a->narrow(0, adapter.rankStarts[p], b.size(1));
    const Matrix inner = columnsOf(u, half.columnOf(p));
    multiplyInto({const_cast<void*>(inner.data), true, inner.ld}, n, b.size(1), {{matrixOf(x), matrixOf(a, true), in, b.size(1)}});
    products.push_back({inner, matrixOf(b, true), b.size(1), b.size(0), adapter.rowStarts[p], static_cast<float>(adapter.scales[p])});
  }
}

/// Products of y with the adapter's; u is filled.
void adapterForward(const Tensor& x, const Adapter& adapter, const Tensor& u, int64_t features, std::vector<Product>& products) {
  const int64_t n = x.size(0), in = x.size(1), ranks = adapter.a->size(0);
  if (isHalf(x)) {
    HalfAdapter half(adapter, features);
    checkMatrix(u, "u", n, half.width());
    checkSame(u, "u", x);
    if (n <= kFewRows) return fewRowsForward(x, adapter, half, u, products);
    multiplyInto(resultOf(u), n, half.width(), {half.inner(matrixOf(x))});
    return half.outer(matrixOf(u), products);
  }
  checkMatrix(u, "u", n, ranks);
  multiplyInto(resultOf(u), n, ranks, {{matrixOf(x), matrixOf(*adapter.a, true), in, ranks}});
  for (size_t p = 0; p < adapter.b.size(); p++) {
    const Tensor& b = adapter.b[p];
    products.push_back({columnsOf(u, adapter.rankStarts[p]), matrixOf(b, true), b.size(1), b.size(0), adapter.rowStarts[p], static_cast<float>(adapter.scales[p])});
  }
}

void linearForward(const Tensor& x, const Optional& dropped, const Tensor& weight, const Optional& packed, const Optional& bias, const Optional& residual, const Optional& a, const std::vector<Tensor>& b,
                   const std::vector<int64_t>& rowStarts, const std::vector<int64_t>& rankStarts, const std::vector<double>& scales, const Tensor& out, const Optional& u) {
  const int64_t n = x.size(0), in = weight.size(1), features = weight.size(0);
  const Adapter adapter{a, b, rowStarts, rankStarts, scales};
  checkMatrix(x, "x", n, in);
  checkMatrix(weight, "weight");
  checkMatrix(out, "out", n, features);
  checkSame(weight, "weight", x);
  checkSame(out, "out", x);
  if (bias) checkContiguous(*bias, "bias", x.scalar_type(), features);
  if (residual) checkMatrix(*residual, "residual", n, features), checkSame(*residual, "residual", x);
  adapter.check(in, features);
  if (adapter.present()) checkSame(*a, "a", x);
  if (dropped) checkMatrix(*dropped, "dropped", n, in), checkSame(*dropped, "dropped", x);
  std::vector<Product> products{{matrixOf(x), matrixOf(weight, true), in, features, 0, 1, packedOf(packed, in, features)}};
  if (adapter.present()) {
    TORCH_CHECK(u && u->defined(), "expected a buffer for 'u', the adapter's inner activations");
    adapterForward(dropped ? *dropped : x, adapter, *u, features, products);
  }
  Result result = resultOf(out);
  if (bias) result.bias = bias->data_ptr();
  if (residual) result.residual = residual->data_ptr(), result.residualLd = residual->stride(0);
  multiplyInto(result, n, features, products);
}

/// bias_grad += column sums of grad.
void addColumnSums(const Tensor& grad, const Tensor& sums) {
  byType(grad, [&]<class T>(T) {
    overRows(grad.size(1), 128, [&](int64_t j, int64_t n) {
      for (int64_t i = 0; i < grad.size(0); i++) level().rows<T>().accumulate(data<T>(grad) + i * grad.stride(0) + j, data<float>(sums) + j, n);
    });
  });
}

/// dW += dyᵀ x.
void addWeightGradient(const Tensor& grad, const Tensor& x, const Tensor& weightGrad) {
  Result result{weightGrad.data_ptr(), false, weightGrad.size(1)};
  result.residual = result.data, result.residualLd = result.ld;
  multiplyInto(result, grad.size(1), x.size(1), {{matrixOf(grad, true), matrixOf(x), x.size(0), x.size(1)}});
}

/// The adapter's part of dx. Gradients of A and of each B, those that are asked for, are added to theirs.
class AdapterBackward {
 public:
  AdapterBackward(const Adapter& adapter, const Tensor& grad, const Tensor& x, const Tensor& u) : adapter_(adapter), grad_(grad), x_(x), u_(u) {
    if (isHalf(x)) half_.emplace(adapter, grad.size(1));
    width_ = half_ ? half_->width() : adapter.a->size(0);
    checkMatrix(u, "u", x.size(0), width_);
    du_ = scratch(0).floats(x.size(0) * width_);
  }

  /// du in fp32, and what it adds to dx.
  Product run() {
    const int64_t n = x_.size(0), in = x_.size(1);
    if (half_) {
      multiplyInto({du_, false, width_}, n, width_, half_->innerGradient(matrixOf(grad_)));
      bf16* rounded = reinterpret_cast<bf16*>(scratch(1).floats((n * width_ + 1) / 2));
      overRows(n, 64, [&](int64_t i, int64_t rows) { level().b16.narrow(du_ + i * width_, rounded + i * width_, rows * width_); });
      return half_->outerGradient({rounded, true, width_});
    }
    std::vector<Product> products;
    for (size_t p = 0; p < adapter_.b.size(); p++) {
      const Tensor& b = adapter_.b[p];
      products.push_back({columnsOf(grad_, adapter_.rowStarts[p]), matrixOf(b), b.size(0), b.size(1), adapter_.rankStarts[p], static_cast<float>(adapter_.scales[p])});
    }
    multiplyInto({du_, false, width_}, n, width_, products);
    return {{du_, false, width_}, matrixOf(*adapter_.a), width_, in};
  }

  /// After `run`: dA += duᵀ x;  dB_p += scale_p · dy_pᵀ u_p.
  void gradients(const Optional& aGrad, const std::vector<Tensor>& bGrads) {
    const int64_t n = x_.size(0), in = x_.size(1);
    TORCH_CHECK(bGrads.empty() || bGrads.size() == adapter_.b.size(), "expected a gradient for each of ", adapter_.b.size(), " B matrices, got ", bGrads.size());
    if (aGrad) checkContiguous(*aGrad, "a_grad", at::kFloat, adapter_.a->size(0) * in);
    const float* u = bGrads.empty() ? nullptr : wideInner();
    for (size_t p = 0; p < adapter_.b.size(); p++) {
      const int64_t rows = adapter_.b[p].size(0), rank = adapter_.b[p].size(1), column = half_ ? half_->columnOf(p) : adapter_.rankStarts[p];
      if (aGrad) addOuter(du_ + column, width_, matrixOf(x_), n, rank, in, data<float>(aGrad) + adapter_.rankStarts[p] * in);
      if (bGrads.empty()) continue;
      checkContiguous(bGrads[p], "b_grads", at::kFloat, rows * rank);
      addOuter(u + column, width_, columnsOf(grad_, adapter_.rowStarts[p]), n, rank, rows, data<float>(bGrads[p]), static_cast<float>(adapter_.scales[p]), true);
    }
  }

 private:
  static Scratch& scratch(int use) {
    static Scratch scratch[3];
    return scratch[use];
  }
  const float* wideInner() const {
    if (!half_) return data<float>(u_);
    float* wide = scratch(2).floats(u_.numel());
    for (int64_t i = 0; i < u_.size(0); i++) level().b16.widen(data<bf16>(u_) + i * u_.stride(0), wide + i * width_, width_, 1);
    return wide;
  }

  const Adapter& adapter_;
  const Tensor &grad_, &x_, &u_;
  std::optional<HalfAdapter> half_;
  int64_t width_;
  float* du_;
};

void linearBackward(const Tensor& grad, const Tensor& x, const Optional& dropped, const Tensor& weight, const Optional& packed, const Optional& a, const std::vector<Tensor>& b, const std::vector<int64_t>& rowStarts,
                    const std::vector<int64_t>& rankStarts, const std::vector<double>& scales, const Optional& u, const Optional& weightGrad, const Optional& biasGrad,
                    const Optional& aGrad, const std::vector<Tensor>& bGrads, const Tensor& out, const Optional& droppedOut) {
  const int64_t n = x.size(0), in = weight.size(1), features = weight.size(0);
  const Adapter adapter{a, b, rowStarts, rankStarts, scales};
  checkMatrix(grad, "grad", n, features);
  checkMatrix(x, "x", n, in);
  checkMatrix(out, "out", n, in);
  checkSame(grad, "grad", x);
  checkSame(weight, "weight", x);
  checkSame(out, "out", x);
  adapter.check(in, features);
  if (adapter.present()) checkSame(*a, "a", x);
  TORCH_CHECK(dropped.has_value() == droppedOut.has_value(), "expected 'dropped_out' where there is a 'dropped', and only there");
  for (const auto& [t, name] : {std::pair{&dropped, "dropped"}, {&droppedOut, "dropped_out"}}) if (*t) checkMatrix(**t, name, n, in), checkSame(**t, name, x);
  if (n == 0) return;
  if (weightGrad) {
    checkContiguous(*weightGrad, "weight_grad", at::kFloat, features * in);
    addWeightGradient(grad, x, *weightGrad);
  }
  if (biasGrad) {
    checkContiguous(*biasGrad, "bias_grad", at::kFloat, features);
    addColumnSums(grad, *biasGrad);
  }
  std::vector<Product> products{{matrixOf(grad), matrixOf(weight), features, in, 0, 1, packedOf(packed, features, in)}};
  if (adapter.present()) {
    TORCH_CHECK(u && u->defined(), "expected 'u' as the forward left it");
    AdapterBackward backward(adapter, grad, dropped ? *dropped : x, *u);
    const Product inner = backward.run();
    if (droppedOut) multiplyInto(resultOf(*droppedOut), n, in, {inner});
    else products.push_back(inner);
    backward.gradients(aGrad, bGrads);
  }
  multiplyInto(resultOf(out), n, in, products);
}

/// A weight in panels, for the forward (B = Wᵀ) or the backward (B = W); bf16 alone.
Tensor packWeight(const Tensor& weight, bool backward) {
  checkMatrix(weight, "weight");
  TORCH_CHECK(isHalf(weight), "expected bfloat16 for 'weight', got ", weight.scalar_type());
  const int64_t depth = weight.size(backward ? 0 : 1), columns = weight.size(backward ? 1 : 0), width = panelWidth(columns), elements = packedElements(depth, columns, width);
  Tensor packed = pages(elements * 2).view(at::kBFloat16);
  packPanels(matrixOf(weight, !backward), depth, columns, width, data<bf16>(packed));
  return packed;
}

TORCH_LIBRARY_FRAGMENT(fettle, m) {
  m.def("linear_forward(Tensor x, Tensor? dropped, Tensor weight, Tensor? packed, Tensor? bias, Tensor? residual, Tensor? a, Tensor[] b, int[] row_starts, int[] rank_starts, float[] scales, "
        "Tensor(a!) out, Tensor(b!)? u) -> ()", linearForward);
  m.def("linear_backward(Tensor grad, Tensor x, Tensor? dropped, Tensor weight, Tensor? packed, Tensor? a, Tensor[] b, int[] row_starts, int[] rank_starts, float[] scales, Tensor? u, "
        "Tensor(a!)? weight_grad, Tensor(b!)? bias_grad, Tensor(c!)? a_grad, Tensor(d!)[] b_grads, Tensor(e!) out, "
        "Tensor(f!)? dropped_out) -> ()", linearBackward);
  m.def("pack_weight(Tensor weight, bool backward) -> Tensor", packWeight);
  m.def("inner_width(int[] ranks, bool half) -> int", [](const std::vector<int64_t>& ranks, bool half) { return innerWidth(ranks, half); });
}

}  // namespace
}  // namespace fettle
