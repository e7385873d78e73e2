// Language-model head with its loss, in panels of rows whose logits share one buffer.
#include "check.h"
#include "dispatch.h"
#include "multiply.h"
#include "parallel.h"
#include "scratch.h"

#include <torch/library.h>

#include <atomic>
#include <vector>

namespace fettle {
namespace {

using at::Tensor;
using Optional = std::optional<Tensor>;

/// Depth of one product over the vocabulary: its packed weights stay in the cache.
constexpr int64_t kVocabularySlice = 2048;

Matrix matrixOf(const Tensor& t, bool transposed = false) { return {t.data_ptr(), isHalf(t), t.stride(0), transposed}; }
Matrix slice(const Tensor& t, int64_t row, int64_t column) {
  return {static_cast<const char*>(t.data_ptr()) + (row * t.stride(0) + column) * t.element_size(), isHalf(t), t.stride(0), false};
}

void logitsOf(const Tensor& hidden, const Tensor& weight, const Tensor& logits) {
  multiplyInto({logits.data_ptr(), isHalf(logits), logits.stride(0)}, hidden.size(0), weight.size(0), {{matrixOf(hidden), matrixOf(weight, true), hidden.size(1), weight.size(0)}});
}

/// Loss and hits of one panel; with a gradient the logits become scale · (softmax − one-hot).
template <class T> void lossOf(const Tensor& logits, const int64_t* labels, float scale, bool gradient, double* loss, int64_t* correct) {
  const int64_t rows = logits.size(0), vocabulary = logits.size(1);
  std::vector<float> losses(rows);
  std::atomic<int64_t> hits{0};
  inParallel(rows, [&](int64_t i) {
    T* row = data<T>(logits) + i * logits.stride(0);
    int64_t best;
    const float z = level().rows<T>().logSumExp(row, vocabulary, &best);
    float label;
    level().rows<T>().widen(row + labels[i], &label, 1, 1);
    losses[i] = z - label;
    if (best == labels[i]) hits++;
    if (gradient) level().rows<T>().softmaxGradient(row, vocabulary, z, labels[i], scale);
  });
  for (float x : losses) *loss += x;
  *correct += hits;
}

/// out = logits · weight, summed over slices of the vocabulary in fp32.
void hiddenGradient(const Tensor& logits, const Tensor& weight, const Tensor& out) {
  static Scratch scratch;
  const int64_t rows = out.size(0), width = out.size(1), vocabulary = weight.size(0);
  float* sums = scratch.floats(rows * width);
  for (int64_t v = 0; v < vocabulary; v += kVocabularySlice) {
    Result result{sums, false, width};
    if (v > 0) result.residual = sums, result.residualLd = width;
    const int64_t depth = std::min(kVocabularySlice, vocabulary - v);
    multiplyInto(result, rows, width, {{slice(logits, 0, v), slice(weight, v, 0), depth, width}});
  }
  byType(out, [&]<class T>(T) {
    overRows(rows, 16, [&](int64_t i, int64_t n) {
      for (int64_t r = i; r < i + n; r++) level().rows<T>().narrow(sums + r * width, data<T>(out) + r * out.stride(0), width);
    });
  });
}

/// Sum of −log p(label) and the number of labels that are the largest logit. `logits` [panel, vocabulary] is the buffer
/// that all panels share; `hidden_grad` and `weight_grad` (added to) are given when gradients of scale · loss are asked.
std::tuple<double, int64_t> headLoss(const Tensor& hidden, const Tensor& weight, const Tensor& labels, double scale, const Tensor& logits, const Optional& hiddenGrad, const Optional& weightGrad) {
  const int64_t rows = hidden.size(0), vocabulary = weight.size(0), width = weight.size(1);
  checkMatrix(hidden, "hidden", rows, width);
  checkMatrix(weight, "weight");
  checkMatrix(logits, "logits", -1, vocabulary);
  checkSame(weight, "weight", hidden);
  checkSame(logits, "logits", hidden);
  checkContiguous(labels, "labels", at::kLong, rows);
  if (hiddenGrad) checkMatrix(*hiddenGrad, "hidden_grad", rows, width), checkSame(*hiddenGrad, "hidden_grad", hidden);
  if (weightGrad) checkContiguous(*weightGrad, "weight_grad", at::kFloat, vocabulary * width);
  const int64_t* label = data<int64_t>(labels);
  for (int64_t i = 0; i < rows; i++) TORCH_CHECK(label[i] >= 0 && label[i] < vocabulary, "label ", label[i], " at row ", i, " is outside the vocabulary of ", vocabulary);
  double loss = 0;
  int64_t correct = 0;
  const bool gradient = hiddenGrad.has_value() || weightGrad.has_value();
  for (int64_t i = 0; i < rows; i += logits.size(0)) {
    const int64_t n = std::min(logits.size(0), rows - i);
    const Tensor panel = logits.narrow(0, 0, n), part = hidden.narrow(0, i, n);
    logitsOf(part, weight, panel);
    byType(panel, [&]<class T>(T) { lossOf<T>(panel, label + i, static_cast<float>(scale), gradient, &loss, &correct); });
    if (hiddenGrad) hiddenGradient(panel, weight, hiddenGrad->narrow(0, i, n));
    if (weightGrad) {
      Result result{weightGrad->data_ptr(), false, width};
      result.residual = result.data, result.residualLd = width;
      multiplyInto(result, vocabulary, width, {{matrixOf(panel, true), matrixOf(part), n, width}});
    }
  }
  return {loss, correct};
}

TORCH_LIBRARY_FRAGMENT(fettle, m) {
  m.def("head_loss(Tensor hidden, Tensor weight, Tensor labels, float scale, Tensor(a!) logits, Tensor(b!)? hidden_grad, Tensor(c!)? weight_grad) -> (float, int)", headLoss);
}

}  // namespace
}  // namespace fettle
