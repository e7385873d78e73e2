// Linear layers with their LoRA adapter (Hu et al., arXiv 2106.09685), joined parts (q, k, v) included.
//   forward:  u = x Aᵀ;  y = x Wᵀ + Σ_p scale_p · u_p B_pᵀ (+ bias) (+ residual)
//   backward: du_p = scale_p · dy_p B_p;  dx = dy W + du A;  dA += duᵀ x;  dB_p += scale_p · dy_pᵀ u_p;  dW += dyᵀ x
#include "check.h"
#include "dispatch.h"
#include "multiply.h"
#include "parallel.h"
#include "scratch.h"

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
  const bool over = handOver(x);
  if (!over) products.push_back({matrixOf(x), matrixOf(weight, true), in, features});
  if (adapter.present()) {
    TORCH_CHECK(u && u->defined(), "expected a buffer for 'u', the adapter's inner activations");
    checkMatrix(*u, "u", n, a->size(0));
    multiplyInto(resultOf(*u), n, a->size(0), {{matrixOf(x), matrixOf(*a, true), in, a->size(0)}});
    for (size_t p = 0; p < b.size(); p++)
      products.push_back({columnsOf(*u, rankStarts[p]), matrixOf(b[p], true), b[p].size(1), b[p].size(0), rowStarts[p], static_cast<float>(scales[p])});
  }
  Result result = resultOf(out);
  result.bias = data<void>(bias);
  if (residual) result.residual = residual->data_ptr(), result.residualLd = residual->stride(0);
  if (over) {
    Tensor target = out;
    at::mm_out(target, x, weight.t());
    if (products.empty() && !bias && !residual) return;
    // What is left is added in one pass; a residual first, since a result takes one matrix.
    if (residual && !products.empty()) multiplyInto(result, n, features, products);
    return;
  }
  multiplyInto(result, n, features, products);
}

}  // namespace
}  // namespace fettle
