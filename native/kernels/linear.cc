// Linear layers with their LoRA adapter (Hu et al., arXiv 2106.09685), joined parts (q, k, v) included.
//   forward:  u = x Aᵀ;  y = x Wᵀ + Σ_p scale_p · u_p B_pᵀ (+ bias) (+ residual)
//   backward: du_p = scale_p · dy_p B_p;  dx = dy W + du A;  dA += duᵀ x;  dB_p += scale_p · dy_pᵀ u_p;  dW += dyᵀ x
#include "check.h"
#include "dispatch.h"
#include "multiply.h"
#include "parallel.h"
#include "scratch.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>
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

struct Adapter {
  const Optional& a;
  const std::vector<Tensor>& b;
  const std::vector<int64_t>& rowStarts;
  const std::vector<int64_t>& rankStarts;
  const std::vector<double>& scales;

  bool present() const { return a && a->defined(); }
  void check(int64_t in, int64_t out) const {
    if (!present()) return;
    checkMatrix(*a, "a", -1, in);
    TORCH_CHECK(b.size() == rowStarts.size() && b.size() == rankStarts.size() && b.size() == scales.size(), "expected as many row starts, rank starts and scales as B matrices, ", b.size());
    for (size_t p = 0; p < b.size(); p++) {
      checkMatrix(b[p], "b");
      TORCH_CHECK(rowStarts[p] + b[p].size(0) <= out && rankStarts[p] + b[p].size(1) <= a->size(0), "part ", p, " of the adapter leaves the layer: ", b[p].sizes());
    }
  }
};

/// True when the large products of these element types are better left to oneDNN.
bool handOver(const Tensor& x) { return isHalf(x) && halfInHardware(); }

void linearForward(const Tensor& x, const Tensor& weight, const Optional& bias, const Optional& residual, const Optional& a, const std::vector<Tensor>& b,
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
  std::vector<Product> products;
  // A few rows are bound by the reading of weights, which oneDNN would first put into an order of its own.
  const bool over = handOver(x) && n > kFewRows;
  if (!over) products.push_back({matrixOf(x), matrixOf(weight, true), in, features});
  if (adapter.present()) {
    TORCH_CHECK(u && u->defined(), "expected a buffer for 'u', the adapter's inner activations");
    checkMatrix(*u, "u", n, a->size(0));
    multiplyInto(resultOf(*u), n, a->size(0), {{matrixOf(x), matrixOf(*a, true), in, a->size(0)}});
    for (size_t p = 0; p < b.size(); p++)
      products.push_back({columnsOf(*u, rankStarts[p]), matrixOf(b[p], true), b[p].size(1), b[p].size(0), rowStarts[p], static_cast<float>(scales[p])});
  }
  Result result = resultOf(out);
  if (bias) result.bias = bias->data_ptr();
  if (residual) result.residual = residual->data_ptr(), result.residualLd = residual->stride(0);
  if (over) {
    Tensor target = out;
    if (residual) at::addmm_out(target, *residual, x, weight.t());
    else at::mm_out(target, x, weight.t());
    result.residual = out.data_ptr(), result.residualLd = out.stride(0);
    if (products.empty() && !bias) return;
  }
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

/// sum (fp32) += A · B.
void addProduct(const Tensor& sum, int64_t rows, int64_t columns, const Product& product, bool transposed = false) {
  Result result = resultOf(sum);
  if (transposed) result.addTransposed = true;
  else result.residual = result.data, result.residualLd = result.ld;
  multiplyInto(result, rows, columns, {product});
}

/// dW += dyᵀ x. In hardware bf16 the product is rounded once to bf16 before it is added, as ATen's is.
void addWeightGradient(const Tensor& grad, const Tensor& x, const Tensor& weightGrad) {
  if (handOver(x)) {
    Tensor sum = weightGrad;
    sum.add_(at::mm(grad.t(), x));
    return;
  }
  addProduct(weightGrad, grad.size(1), x.size(1), {matrixOf(grad, true), matrixOf(x), x.size(0), x.size(1)});
}

/// du (fp32 scratch) and the gradients of A and of each B, those that are asked for.
Matrix adapterBackward(const Tensor& grad, const Tensor& x, const Adapter& adapter, const Tensor& u, const Optional& aGrad, const std::vector<Tensor>& bGrads) {
  static Scratch scratch;
  const int64_t n = x.size(0), in = x.size(1), ranks = adapter.a->size(0);
  float* du = scratch.floats(n * ranks);
  std::vector<Product> products;
  for (size_t p = 0; p < adapter.b.size(); p++) {
    const Tensor& b = adapter.b[p];
    products.push_back({columnsOf(grad, adapter.rowStarts[p]), matrixOf(b), b.size(0), b.size(1), adapter.rankStarts[p], static_cast<float>(adapter.scales[p])});
  }
  multiplyInto({du, false, ranks}, n, ranks, products);
  if (aGrad) {
    checkContiguous(*aGrad, "a_grad", at::kFloat, ranks * in);
    addProduct(*aGrad, ranks, in, {{du, false, ranks, true}, matrixOf(x), n, in});
  }
  TORCH_CHECK(bGrads.empty() || bGrads.size() == adapter.b.size(), "expected a gradient for each of ", adapter.b.size(), " B matrices, got ", bGrads.size());
  for (size_t p = 0; p < bGrads.size(); p++) {
    const int64_t rows = adapter.b[p].size(0), rank = adapter.b[p].size(1);
    checkContiguous(bGrads[p], "b_grads", at::kFloat, rows * rank);
    // The small side as rows: (u_pᵀ dy_p), written transposed.
    addProduct(bGrads[p], rank, rows, {columnsOf(u, adapter.rankStarts[p], true), columnsOf(grad, adapter.rowStarts[p]), n, rows, 0, static_cast<float>(adapter.scales[p])}, true);
  }
  return {du, false, ranks};
}

void linearBackward(const Tensor& grad, const Tensor& x, const Tensor& weight, const Optional& a, const std::vector<Tensor>& b, const std::vector<int64_t>& rowStarts,
                    const std::vector<int64_t>& rankStarts, const std::vector<double>& scales, const Optional& u, const Optional& weightGrad, const Optional& biasGrad,
                    const Optional& aGrad, const std::vector<Tensor>& bGrads, const Tensor& out) {
  const int64_t n = x.size(0), in = weight.size(1), features = weight.size(0);
  const Adapter adapter{a, b, rowStarts, rankStarts, scales};
  checkMatrix(grad, "grad", n, features);
  checkMatrix(x, "x", n, in);
  checkMatrix(out, "out", n, in);
  checkSame(grad, "grad", x);
  checkSame(weight, "weight", x);
  checkSame(out, "out", x);
  adapter.check(in, features);
  if (n == 0) return;
  if (weightGrad) {
    checkContiguous(*weightGrad, "weight_grad", at::kFloat, features * in);
    addWeightGradient(grad, x, *weightGrad);
  }
  if (biasGrad) {
    checkContiguous(*biasGrad, "bias_grad", at::kFloat, features);
    addColumnSums(grad, *biasGrad);
  }
  std::vector<Product> products;
  Result result = resultOf(out);
  if (handOver(x)) {
    Tensor target = out;
    at::mm_out(target, grad, weight);
    result.residual = result.data, result.residualLd = result.ld;
  } else {
    products.push_back({matrixOf(grad), matrixOf(weight), features, in});
  }
  if (adapter.present()) {
    TORCH_CHECK(u && u->defined(), "expected 'u' as the forward left it");
    checkMatrix(*u, "u", n, a->size(0));
    products.push_back({adapterBackward(grad, x, adapter, *u, aGrad, bGrads), matrixOf(*a), a->size(0), in});
  }
  if (!products.empty()) multiplyInto(result, n, in, products);
}

TORCH_LIBRARY_FRAGMENT(fettle, m) {
  m.def("linear_forward(Tensor x, Tensor weight, Tensor? bias, Tensor? residual, Tensor? a, Tensor[] b, int[] row_starts, int[] rank_starts, float[] scales, "
        "Tensor(a!) out, Tensor(b!)? u) -> ()", linearForward);
  m.def("linear_backward(Tensor grad, Tensor x, Tensor weight, Tensor? a, Tensor[] b, int[] row_starts, int[] rank_starts, float[] scales, Tensor? u, "
        "Tensor(a!)? weight_grad, Tensor(b!)? bias_grad, Tensor(c!)? a_grad, Tensor(d!)[] b_grads, Tensor(e!) out) -> ()", linearBackward);
}

}  // namespace
}  // namespace fettle
