// The kernels as operators of libtorch's dispatcher, in a namespace of their own. They write into tensors that are given.
#include "launch.h"

#include <torch/library.h>

namespace fettle::cuda {
namespace {

using at::Tensor;

/// Rows of a tensor: all of them; or, as `at` says, heads inside the rows of a joined qkv: [first number, rows of a token,
/// rows of a group, distance of groups, distance of heads, width].
struct Layout {
  Rows rows;
  int64_t first, count, width;

  Layout(const Tensor& x, const std::vector<int64_t>& at) {
    const int64_t tokens = x.size(0), stride = x.size(1);
    TORCH_CHECK(at.empty() || at.size() == 6, "expected 6 numbers for the layout of heads, got ", at.size());
    if (at.empty()) {
      rows = {stride, 0, 0, 1, 1};
      first = 0, count = tokens, width = stride;
      return;
    }
    rows = {stride, at[3], at[4], static_cast<int>(at[1]), static_cast<int>(at[2])};
    first = at[0], count = tokens * at[1], width = at[5];
    const int64_t last = first + (at[1] / at[2] - 1) * at[3] + (at[2] - 1) * at[4] + width;
    TORCH_CHECK(at[1] > 0 && at[2] > 0 && at[1] % at[2] == 0 && last <= stride, "the layout of heads leaves rows of ", stride, ": ", at);
  }
  int pack(const Tensor& x, std::initializer_list<const void*> addresses) const {
    return packOf(x, addresses, {rows.token, rows.group, rows.head, first, width});
  }
};

void* at(const Tensor& t, int64_t first) { return static_cast<char*>(t.data_ptr()) + first * t.element_size(); }

void normForward(const Tensor& x, const Tensor& weight, const Optional& bias, double eps, double offset, bool center, const std::vector<int64_t>& heads, const Tensor& out, const Optional& mean, const Tensor& rstd) {
  const Layout layout(x, heads);
  expect(x, "x", x, x.scalar_type(), x.numel());
  expect(out, "out", x, x.scalar_type(), x.numel());
  expect(weight, "weight", x, x.scalar_type(), layout.width);
  expect(bias, "bias", x, x.scalar_type(), layout.width);
  expect(rstd, "rstd", x, at::kFloat, layout.count);
  expect(mean, "mean", x, at::kFloat, layout.count);
  const int pack = layout.pack(x, {address(x), address(out), address(weight)});
  launch({"norm", form("normForward", x, pack), layout.count, threadsFor(layout.width, pack)}, x, at(x, layout.first), address(weight), address(bias), at(out, layout.first), address(mean), address(rstd),
         layout.rows, static_cast<int>(layout.width), static_cast<float>(eps), static_cast<float>(offset), static_cast<int>(center));
}

void normBackward(const Tensor& grad, const Tensor& x, const Tensor& weight, const Optional& mean, const Tensor& rstd, const Optional& residual, double offset, bool center, const std::vector<int64_t>& heads,
                  const Tensor& out, const Optional& weightGrad, const Optional& biasGrad) {
  const Layout layout(x, heads);
  for (const auto& [t, name] : {std::pair{&x, "x"}, {&grad, "grad"}, {&out, "out"}}) expect(*t, name, x, x.scalar_type(), x.numel());
  expect(weight, "weight", x, x.scalar_type(), layout.width);
  expect(rstd, "rstd", x, at::kFloat, layout.count);
  expect(mean, "mean", x, at::kFloat, layout.count);
  expect(residual, "residual", x, x.scalar_type(), x.numel());
  expect(weightGrad, "weight_grad", x, at::kFloat, layout.width);
  expect(biasGrad, "bias_grad", x, at::kFloat, layout.width);
  TORCH_CHECK(!center || mean, "expected 'mean' as the forward left it");
  const int width = static_cast<int>(layout.width), centered = static_cast<int>(center);
  // Before `out` is written, which may be the memory of `grad`.
  if (weightGrad || biasGrad)
    launch({"norm", form("normWeights", x), (layout.width + 31) / 32, 32, 16}, x, at(grad, layout.first), at(x, layout.first), address(mean), address(rstd), address(weightGrad), address(biasGrad),
           layout.rows, static_cast<long long>(layout.count), width, centered);
  const int pack = layout.pack(x, {address(x), address(grad), address(out), address(weight), address(residual)});
  launch({"norm", form("normBackward", x, pack), layout.count, threadsFor(layout.width, pack)}, x, at(grad, layout.first), at(x, layout.first), address(weight), address(mean), address(rstd),
         residual ? at(*residual, layout.first) : nullptr, at(out, layout.first), layout.rows, width, static_cast<float>(offset), centered);
}

void rotary(const Tensor& x, const Tensor& cos, const Tensor& sin, const Optional& queryScale, int64_t groups, int64_t queries, int64_t keys, int64_t headDim, int64_t dim, int64_t axes, bool interleaved, bool back) {
  const int64_t tokens = x.size(0), stride = x.size(1);
  TORCH_CHECK(groups * (queries + 2 * keys) * headDim == stride, "expected rows of ", groups, " groups of ", queries, " + 2 · ", keys, " heads of ", headDim, ", got rows of ", stride);
  TORCH_CHECK(axes > 0 && dim > 0 && dim % (2 * axes) == 0 && dim <= headDim, "expected a rotated part of up to ", headDim, " in ", axes, " even stretches, got ", dim);
  expect(x, "x", x, x.scalar_type(), x.numel());
  expect(cos, "cos", x, at::kFloat, tokens * (dim / 2));
  expect(sin, "sin", x, at::kFloat, tokens * (dim / 2));
  expect(queryScale, "query_scale", x, at::kFloat, tokens);
  launch({"rotary", form("rotary", x), tokens, threadsFor(groups * (queries + keys) * dim / 2, 1)}, x, address(x), address(cos), address(sin), address(queryScale), static_cast<long long>(stride),
         static_cast<int>(groups), static_cast<int>(queries), static_cast<int>(keys), static_cast<int>(headDim), static_cast<int>(dim), static_cast<int>(axes), static_cast<int>(interleaved), back ? -1.0f : 1.0f);
}

int functionNamed(const std::string& name) {
  const std::vector<std::string> names = {"silu", "gelu", "gelu_tanh", "relu"};
  const auto found = std::find(names.begin(), names.end(), name);
  TORCH_CHECK(found != names.end(), "expected silu, gelu, gelu_tanh or relu, got '", name, "'");
  return static_cast<int>(found - names.begin());
}

/// Enough blocks to fill any GPU; each thread then takes several packs.
int64_t blocksFor(int64_t packs) { return std::min<int64_t>((packs + 255) / 256, 8192); }

void activationForward(const Tensor& x, const std::string& function, bool gated, const Tensor& out) {
  const int64_t rows = out.size(0), width = out.size(1);
  expect(x, "x", x, x.scalar_type(), rows * width * (gated ? 2 : 1));
  expect(out, "out", x, x.scalar_type(), rows * width);
  const int pack = packOf(x, {address(x), address(out)}, {width});
  launch({"activation", form("activationForward", x, pack), blocksFor(rows * width / pack), 256}, x, address(x), address(out), static_cast<long long>(rows), static_cast<int>(width), functionNamed(function), static_cast<int>(gated));
}

void activationBackward(const Tensor& grad, const Tensor& x, const std::string& function, bool gated, const Tensor& out) {
  const int64_t rows = grad.size(0), width = grad.size(1);
  expect(grad, "grad", x, x.scalar_type(), rows * width);
  expect(x, "x", x, x.scalar_type(), rows * width * (gated ? 2 : 1));
  expect(out, "out", x, x.scalar_type(), x.numel());
  const int pack = packOf(x, {address(grad), address(x), address(out)}, {width});
  launch({"activation", form("activationBackward", x, pack), blocksFor(rows * width / pack), 256}, x, address(grad), address(x), address(out), static_cast<long long>(rows), static_cast<int>(width), functionNamed(function), static_cast<int>(gated));
}

/// losses and hits fp32 [rows]; with `gradient` the logits become scale · (softmax - one-hot). Labels below the vocabulary are
/// the caller's to see to: looking at them here would wait for the device.
void headLoss(const Tensor& logits, const Tensor& labels, const Tensor& scale, const Tensor& losses, const Tensor& hits, bool gradient) {
  const int64_t rows = logits.size(0), vocabulary = logits.size(1);
  expect(logits, "logits", logits, logits.scalar_type(), rows * vocabulary);
  expect(labels, "labels", logits, at::kLong, rows);
  expect(scale, "scale", logits, at::kFloat, 1);
  expect(losses, "losses", logits, at::kFloat, rows);
  expect(hits, "hits", logits, at::kFloat, rows);
  const int pack = packOf(logits, {address(logits)}, {vocabulary});
  launch({"head", form("headLoss", logits, pack), rows, threadsFor(vocabulary, pack, 512)}, logits, address(logits), address(labels), address(losses), address(hits), address(scale), static_cast<long long>(vocabulary), static_cast<int>(gradient));
}

TORCH_LIBRARY_FRAGMENT(fettle_cuda, m) {
  m.def("norm_forward(Tensor x, Tensor weight, Tensor? bias, float eps, float offset, bool center, int[] heads, Tensor(a!) out, Tensor(b!)? mean, Tensor(c!) rstd) -> ()", normForward);
  m.def("norm_backward(Tensor grad, Tensor x, Tensor weight, Tensor? mean, Tensor rstd, Tensor? residual, float offset, bool center, int[] heads, Tensor(a!) out, Tensor(b!)? weight_grad, Tensor(c!)? bias_grad) -> ()", normBackward);
  m.def("rotary_(Tensor(a!) x, Tensor cos, Tensor sin, Tensor? query_scale, int groups, int queries, int keys, int head_dim, int dim, int axes, bool interleaved, bool back) -> ()", rotary);
  m.def("activation_forward(Tensor x, str function, bool gated, Tensor(a!) out) -> ()", activationForward);
  m.def("activation_backward(Tensor grad, Tensor x, str function, bool gated, Tensor(a!) out) -> ()", activationBackward);
  m.def("head_loss(Tensor(a!) logits, Tensor labels, Tensor scale, Tensor(b!) losses, Tensor(c!) hits, bool gradient) -> ()", headLoss);
}

}  // namespace
}  // namespace fettle::cuda
