// Attention over packed rows (sequence s: tokens offsets[s] … offsets[s + 1]), both ways: causal, within a window, with
// ALiBi's slopes (Press et al., arXiv 2108.12409), with prompts that are seen whole (GLM, arXiv 2103.10360), behind a trained
// prefix (Li and Liang, arXiv 2101.00190), with grouped key-value heads.
#include "attention.h"

#include "attention-worker.h"
#include "check.h"
#include "parallel.h"

#include <torch/library.h>

namespace fettle {

int64_t attentionBlockRows(const AttentionShape& shape, int64_t keys) {
  constexpr int64_t most = 96, scores = int64_t(1) << 17;
  return std::max(shape.group(), std::min(most, scores / std::max<int64_t>(keys, 1)));
}

std::vector<AttentionTask> attentionTasks(const std::vector<int64_t>& o, const std::vector<int64_t>& seen, const AttentionShape& shape, bool backward) {
  const int64_t threads = threadCount();
  std::vector<AttentionTask> tasks;
  for (size_t s = 0; s + 1 < o.size(); s++) {
    const int64_t length = o[s + 1] - o[s];
    if (length == 0) continue;
    const int64_t blocks = std::max<int64_t>(1, length * shape.group() / attentionBlockRows(shape, length));
    const int64_t parts = length < 256 ? 1 : std::min(blocks, backward ? threads : 4 * threads);
    for (int64_t kv = 0; kv < shape.kvHeads; kv++)
      for (int64_t part = 0; part < parts; part++) tasks.push_back({o[s], length, seen.empty() ? 0 : seen[s], kv, part, parts});
  }
  std::stable_sort(tasks.begin(), tasks.end(), [](const AttentionTask& a, const AttentionTask& b) { return a.length * a.length / a.parts > b.length * b.length / b.parts; });
  return tasks;
}

namespace {

using at::Tensor;
using Optional = std::optional<at::Tensor>;

struct Layout {
  const std::vector<int64_t>& offsets;
  const std::vector<int64_t>& seen;
  int64_t heads, kvHeads, dim;
  double scale;
  bool grouped;
  int64_t window;
  const Optional& slopes;
  const Optional& past;
};

AttentionShape checked(const Tensor& qkv, const Layout& l) {
  TORCH_CHECK(l.kvHeads > 0 && l.heads % l.kvHeads == 0, "expected heads to be a multiple of key-value heads, got ", l.heads, " and ", l.kvHeads);
  AttentionShape shape{{l.heads, l.kvHeads, l.dim, l.grouped, static_cast<float>(l.scale)}, l.window};
  checkMatrix(qkv, "qkv", -1, shape.width());
  checkContiguous(qkv, "qkv", qkv.scalar_type(), qkv.numel());
  TORCH_CHECK(!l.offsets.empty() && l.offsets.front() == 0 && l.offsets.back() == qkv.size(0), "expected offsets from 0 to ", qkv.size(0), ", got ", l.offsets);
  TORCH_CHECK(std::is_sorted(l.offsets.begin(), l.offsets.end()), "expected rising offsets, got ", l.offsets);
  TORCH_CHECK(l.seen.empty() || l.seen.size() + 1 == l.offsets.size(), "expected how much each of ", l.offsets.size() - 1, " sequences sees whole, got ", l.seen);
  for (size_t s = 0; s < l.seen.size(); s++) TORCH_CHECK(l.seen[s] >= 0 && l.seen[s] <= l.offsets[s + 1] - l.offsets[s], "sequence ", s, " sees ", l.seen[s], " of its tokens whole, more than it has");
  TORCH_CHECK(l.window >= 0 && (l.window == 0 || l.seen.empty()), "expected a window, or prompts that are seen whole, not both");
  if (l.slopes) checkContiguous(*l.slopes, "slopes", at::kFloat, l.heads), shape.slopes = data<float>(l.slopes);
  if (l.past) {
    const Tensor& past = *l.past;
    TORCH_CHECK(past.dim() == 4 && past.scalar_type() == qkv.scalar_type() && past.size(1) == 2 && past.size(2) == l.kvHeads && past.size(3) == l.dim && past.stride(3) == 1 && past.stride(2) == l.dim,
                "expected [places, 2, ", l.kvHeads, ", ", l.dim, "] of ", qkv.scalar_type(), " for 'past', got ", past.scalar_type(), " ", past.sizes(), " strides ", past.strides());
    shape.places = past.size(0);
  }
  return shape;
}

template <class T> Past<T> pastOf(const Optional& past) { return past ? Past<T>{data<T>(*past), past->stride(0), past->stride(1)} : Past<T>{nullptr, 0, 0}; }

void attentionForward(const Tensor& qkv, const std::vector<int64_t>& offsets, const std::vector<int64_t>& seen, int64_t heads, int64_t kvHeads, int64_t dim, double scale, bool grouped, int64_t window,
                      const Optional& slopes, const Optional& past, const Tensor& out, const Tensor& logSumExp) {
  const AttentionShape shape = checked(qkv, {offsets, seen, heads, kvHeads, dim, scale, grouped, window, slopes, past});
  const int64_t tokens = qkv.size(0);
  checkContiguous(out, "out", qkv.scalar_type(), tokens * heads * dim);
  checkContiguous(logSumExp, "log_sum_exp", at::kFloat, heads * tokens);
  const auto tasks = attentionTasks(offsets, seen, shape, false);
  byType(qkv, [&]<class T>(T) {
    const Past<T> front = pastOf<T>(past);
    inParallel(static_cast<int64_t>(tasks.size()), [&](int64_t i) { AttentionWorker<T>(shape, tasks[i], data<T>(qkv), front).forward(data<T>(out), data<float>(logSumExp), tokens); });
  });
}

/// Key and value gradients of one head of a sequence, summed over the parts that worked on it, go to their places.
template <class T> void writeKeysAndValues(const AttentionTask& task, const AttentionWorker<T>& worker, const AttentionShape& shape, float* first, T* dqkv, const Optional& pastGrad) {
  const int64_t each = worker.gradientFloats(), width = worker.gradientWidth();
  for (int64_t part = 1; part < task.parts; part++) level().axpy(first + part * 2 * each, first, 2 * each, 1);
  for (int64_t i = 0; i < task.length; i++) {
    T* row = dqkv + (task.start + i) * shape.width();
    const float* from = first + (shape.places + i) * width;
    level().rows<T>().narrow(from, row + shape.key(task.kv), shape.dim);
    level().rows<T>().narrow(from + each, row + shape.value(task.kv), shape.dim);
  }
  if (!pastGrad) return;
  for (int64_t i = 0; i < shape.places; i++)
    for (int64_t kind = 0; kind < 2; kind++)
      level().axpy(first + kind * each + i * width, data<float>(*pastGrad) + i * pastGrad->stride(0) + kind * pastGrad->stride(1) + task.kv * shape.dim, shape.dim, 1);
}

void attentionBackward(const Tensor& grad, const Tensor& qkv, const Tensor& output, const Tensor& logSumExp, const std::vector<int64_t>& offsets, const std::vector<int64_t>& seen, int64_t heads,
                       int64_t kvHeads, int64_t dim, double scale, bool grouped, int64_t window, const Optional& slopes, const Optional& past, const Optional& pastGrad, const Tensor& out) {
  const AttentionShape shape = checked(qkv, {offsets, seen, heads, kvHeads, dim, scale, grouped, window, slopes, past});
  const int64_t tokens = qkv.size(0);
  checkContiguous(grad, "grad", qkv.scalar_type(), tokens * heads * dim);
  checkContiguous(output, "output", qkv.scalar_type(), tokens * heads * dim);
  checkContiguous(logSumExp, "log_sum_exp", at::kFloat, heads * tokens);
  checkContiguous(out, "out", qkv.scalar_type(), tokens * shape.width());
  if (pastGrad) TORCH_CHECK(past && pastGrad->scalar_type() == at::kFloat && pastGrad->sizes() == past->sizes() && pastGrad->stride(3) == 1 && pastGrad->stride(2) == dim, "expected the gradient of 'past' in float32 and its shape, got ", pastGrad->scalar_type(), " ", pastGrad->sizes());
  auto tasks = attentionTasks(offsets, seen, shape, true);
  byType(qkv, [&]<class T>(T) {
    const Past<T> front = pastOf<T>(past);
    const auto workerOf = [&](const AttentionTask& task) { return AttentionWorker<T>(shape, task, data<T>(qkv), front); };
    // Parts of one head lie one after another, first part first, so that their sums can be added up.
    int64_t floats = 0;
    for (AttentionTask& task : tasks) {
      task.partial = floats;
      floats += 2 * workerOf(task).gradientFloats();
    }
    static Scratch scratch;
    float* partial = scratch.floats(floats);
    const auto finish = [&](const AttentionTask& task) { writeKeysAndValues<T>(task, workerOf(task), shape, partial + task.partial, data<T>(out), pastGrad); };
    inParallel(static_cast<int64_t>(tasks.size()), [&](int64_t i) {
      const AttentionTask& task = tasks[i];
      AttentionWorker<T> worker = workerOf(task);
      float* keys = partial + task.partial;
      std::memset(keys, 0, 2 * worker.gradientFloats() * sizeof(float));
      worker.backward(data<T>(grad), data<T>(output), data<float>(logSumExp), tokens, data<T>(out), keys, keys + worker.gradientFloats());
      if (task.parts == 1 && !pastGrad) finish(task);
    });
    // What several tasks add to: parts of a sequence, and sequences behind the same prefix, in the same order each time.
    inParallel(kvHeads, [&](int64_t kv) {
      for (const AttentionTask& task : tasks)
        if (task.kv == kv && task.part == 0 && (task.parts > 1 || pastGrad)) finish(task);
    });
  });
}

TORCH_LIBRARY_FRAGMENT(fettle, m) {
  m.def("attention_forward(Tensor qkv, int[] offsets, int[] seen, int heads, int kv_heads, int head_dim, float scale, bool grouped, int window, Tensor? slopes, Tensor? past, "
        "Tensor(a!) out, Tensor(b!) log_sum_exp) -> ()", attentionForward);
  m.def("attention_backward(Tensor grad, Tensor qkv, Tensor output, Tensor log_sum_exp, int[] offsets, int[] seen, int heads, int kv_heads, int head_dim, float scale, bool grouped, int window, "
        "Tensor? slopes, Tensor? past, Tensor(a!)? past_grad, Tensor(b!) out) -> ()", attentionBackward);
}

}  // namespace
}  // namespace fettle
