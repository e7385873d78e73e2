// Causal attention over packed rows (sequence s: tokens offsets[s] … offsets[s + 1]), with grouped key-value heads.
// The query heads that share a key-value head are rows of one matrix; scores exist for one block of queries at a time,
// in fp32. Backward recomputes them from the saved log-sum-exp (Dao et al., arXiv 2205.14135, without its tiling of
// keys: a block's rows fit the cache).
#include "check.h"
#include "dispatch.h"
#include "parallel.h"
#include "scratch.h"

#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace fettle {
namespace {

using at::Tensor;

/// Rows of a block of queries, all heads of the group counted.
constexpr int64_t kBlock = 96;

struct Shape {
  int64_t heads, kvHeads, dim;
  float scale;
  int64_t group() const { return heads / kvHeads; }
  int64_t width() const { return (heads + 2 * kvHeads) * dim; }
};

int64_t roundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

/// One key-value head of one sequence, and which of its query blocks (every `parts`-th from `part`) a task takes.
struct Task {
  int64_t start, length, kv, part, parts;
  /// Backward of several parts: where this one sums its key and value gradients.
  int64_t partial = -1;
};

/// Longest first: threads take tasks in turn, and the short ones fill the gaps.
std::vector<Task> tasksOf(const std::vector<int64_t>& o, const Shape& shape, bool backward) {
  const int64_t threads = threadCount();
  std::vector<Task> tasks;
  for (size_t s = 0; s + 1 < o.size(); s++) {
    const int64_t length = o[s + 1] - o[s];
    if (length == 0) continue;
    const int64_t blocks = std::max<int64_t>(1, length * shape.group() / kBlock);
    const int64_t parts = length < 256 ? 1 : std::min(blocks, backward ? threads : 4 * threads);
    for (int64_t kv = 0; kv < shape.kvHeads; kv++)
      for (int64_t part = 0; part < parts; part++) tasks.push_back({o[s], length, kv, part, parts});
  }
  std::stable_sort(tasks.begin(), tasks.end(), [](const Task& a, const Task& b) { return a.length * a.length / a.parts > b.length * b.length / b.parts; });
  return tasks;
}

/// The arithmetic of one task, on memory of the thread that runs it.
template <class T> class Worker {
 public:
  Worker(const Shape& shape, const Task& task, const T* qkv) : level_(level()), rows_(level_.rows<T>()), shape_(shape), task_(task), nr_(level_.nr), dim_(shape.dim), wide_(roundUp(dim_, nr_)), keys_(roundUp(task.length, nr_)) {
    base_ = qkv + task.start * shape.width();
    positions_ = std::max<int64_t>(1, kBlock / shape.group());
    blockRows_ = positions_ * shape.group();
  }

  /// out [N, heads · dim], logSumExp [heads, N].
  void forward(T* out, float* logSumExp, int64_t tokens) {
    float* memory = local().floats(keys_ * dim_ + task_.length * wide_ + blockRows_ * (dim_ + keys_ + wide_));
    float* keys = take(memory, keys_ * dim_);
    float* values = take(memory, task_.length * wide_);
    float* q = take(memory, blockRows_ * dim_);
    float* scores = take(memory, blockRows_ * keys_);
    float* result = memory;
    packTransposed(keyColumn(), keys);
    packRows(valueColumn(), values);
    eachBlock([&](int64_t first, int64_t count) {
      const int64_t seen = first + count, m = count * shape_.group();
      gather(base_ + first * shape_.width() + queryColumn(), shape_.width(), count, q);
      level_.multiply(q, dim_, 1, keys, dim_ * nr_, roundUp(seen, nr_) / nr_, scores, keys_, m, dim_, false);
      for (int64_t r = 0; r < m; r++)
        logSumExp[headOf(r) * tokens + task_.start + first + r / shape_.group()] = level_.softmax(scores + r * keys_, first + r / shape_.group() + 1, roundUp(seen, nr_), shape_.scale);
      level_.multiply(scores, keys_, 1, values, task_.length * nr_, wide_ / nr_, result, wide_, m, seen, false);
      scatter(result, wide_, out + (task_.start + first) * shape_.heads * dim_ + task_.kv * shape_.group() * dim_, shape_.heads * dim_, count);
    });
  }

  /// Gradient of qkv: queries are written to dqkv, keys and values added to dKeys and dValues [length, wide].
  void backward(const T* grad, const T* out, const float* logSumExp, int64_t tokens, T* dqkv, float* dKeys, float* dValues) {
    float* memory = local().floats(2 * keys_ * dim_ + task_.length * wide_ + blockRows_ * (3 * dim_ + 2 * keys_ + 3 * wide_) + 2 * blockRows_ * wide_);
    float* keys = take(memory, keys_ * dim_);
    float* keyRows = take(memory, task_.length * wide_);
    float* values = take(memory, keys_ * dim_);
    float* q = take(memory, blockRows_ * dim_);
    float* g = take(memory, blockRows_ * dim_);
    float* o = take(memory, blockRows_ * dim_);
    float* p = take(memory, blockRows_ * keys_);
    float* ds = take(memory, blockRows_ * keys_);
    float* dq = take(memory, blockRows_ * wide_);
    float* panels = memory;  // q and g as right-hand sides, packed
    packTransposed(keyColumn(), keys);
    packTransposed(valueColumn(), values);
    packRows(keyColumn(), keyRows);
    const int64_t outWidth = shape_.heads * dim_, outColumn = task_.kv * shape_.group() * dim_;
    eachBlock([&](int64_t first, int64_t count) {
      const int64_t seen = first + count, m = count * shape_.group(), padded = roundUp(seen, nr_);
      gather(base_ + first * shape_.width() + queryColumn(), shape_.width(), count, q);
      gather(grad + (task_.start + first) * outWidth + outColumn, outWidth, count, g);
      gather(out + (task_.start + first) * outWidth + outColumn, outWidth, count, o);
      level_.multiply(q, dim_, 1, keys, dim_ * nr_, padded / nr_, p, keys_, m, dim_, false);
      level_.multiply(g, dim_, 1, values, dim_ * nr_, padded / nr_, ds, keys_, m, dim_, false);
      for (int64_t r = 0; r < m; r++) {
        const int64_t position = first + r / shape_.group();
        level_.softmaxAgain(p + r * keys_, position + 1, padded, shape_.scale, logSumExp[headOf(r) * tokens + task_.start + position]);
        level_.softmaxBackward(p + r * keys_, ds + r * keys_, position + 1, padded, shape_.scale, level_.dot(g + r * dim_, o + r * dim_, dim_));
      }
      level_.multiply(ds, keys_, 1, keyRows, task_.length * nr_, wide_ / nr_, dq, wide_, m, seen, false);
      scatter(dq, wide_, dqkv + (task_.start + first) * shape_.width() + queryColumn(), shape_.width(), count);
      packBlock(q, m, panels);
      level_.multiply(ds, 1, keys_, panels, m * nr_, wide_ / nr_, dKeys, wide_, seen, m, true);
      packBlock(g, m, panels);
      level_.multiply(p, 1, keys_, panels, m * nr_, wide_ / nr_, dValues, wide_, seen, m, true);
    });
  }

  int64_t keyColumn() const { return (shape_.heads + task_.kv) * dim_; }
  int64_t valueColumn() const { return (shape_.heads + shape_.kvHeads + task_.kv) * dim_; }
  int64_t wide() const { return wide_; }

 private:
  static Scratch& local() {
    static thread_local Scratch scratch;
    return scratch;
  }
  static float* take(float*& memory, int64_t count) {
    float* taken = memory;
    memory += count;
    return taken;
  }
  int64_t queryColumn() const { return task_.kv * shape_.group() * dim_; }
  int64_t headOf(int64_t row) const { return task_.kv * shape_.group() + row % shape_.group(); }

  template <class Body> void eachBlock(const Body& body) const {
    for (int64_t first = task_.part * positions_; first < task_.length; first += task_.parts * positions_) body(first, std::min(positions_, task_.length - first));
  }

  /// Rows of positions, heads of the group side by side → one row per (position, head).
  void gather(const T* from, int64_t stride, int64_t count, float* to) const {
    const int64_t width = shape_.group() * dim_;
    for (int64_t i = 0; i < count; i++) rows_.widen(from + i * stride, to + i * width, width, 1);
  }
  void scatter(const float* from, int64_t ld, T* to, int64_t stride, int64_t count) const {
    for (int64_t i = 0; i < count; i++)
      for (int64_t h = 0; h < shape_.group(); h++) rows_.narrow(from + (i * shape_.group() + h) * ld, to + i * stride + h * dim_, dim_);
  }
  /// Right-hand side [dim, keys]: column j is token j's key.
  void packTransposed(int64_t column, float* to) const {
    for (int64_t j = 0; j < task_.length; j += nr_) rows_.pack(base_ + j * shape_.width() + column, shape_.width(), true, dim_, std::min(nr_, task_.length - j), to + j * dim_);
  }
  /// Right-hand side [keys, dim].
  void packRows(int64_t column, float* to) const {
    for (int64_t j = 0; j < dim_; j += nr_) rows_.pack(base_ + column + j, shape_.width(), false, task_.length, std::min(nr_, dim_ - j), to + j * task_.length);
  }
  void packBlock(const float* from, int64_t m, float* to) const {
    for (int64_t j = 0; j < dim_; j += nr_) level_.f32.pack(from + j, dim_, false, m, std::min(nr_, dim_ - j), to + j * m);
  }

  const Level& level_;
  const RowKernels<T>& rows_;
  const Shape& shape_;
  const Task& task_;
  const int64_t nr_, dim_, wide_, keys_;
  const T* base_;
  int64_t positions_, blockRows_;
};

Shape checked(const Tensor& qkv, const std::vector<int64_t>& offsets, int64_t heads, int64_t kvHeads, int64_t dim, double scale) {
  TORCH_CHECK(kvHeads > 0 && heads % kvHeads == 0, "expected heads to be a multiple of key-value heads, got ", heads, " and ", kvHeads);
  const Shape shape{heads, kvHeads, dim, static_cast<float>(scale)};
  checkMatrix(qkv, "qkv", -1, shape.width());
  checkContiguous(qkv, "qkv", qkv.scalar_type(), qkv.numel());
  TORCH_CHECK(!offsets.empty() && offsets.front() == 0 && offsets.back() == qkv.size(0), "expected offsets from 0 to ", qkv.size(0), ", got ", offsets);
  TORCH_CHECK(std::is_sorted(offsets.begin(), offsets.end()), "expected rising offsets, got ", offsets);
  return shape;
}

void attentionForward(const Tensor& qkv, const std::vector<int64_t>& offsets, int64_t heads, int64_t kvHeads, int64_t dim, double scale, const Tensor& out, const Tensor& logSumExp) {
  const Shape shape = checked(qkv, offsets, heads, kvHeads, dim, scale);
  const int64_t tokens = qkv.size(0);
  checkContiguous(out, "out", qkv.scalar_type(), tokens * heads * dim);
  checkContiguous(logSumExp, "log_sum_exp", at::kFloat, heads * tokens);
  const auto tasks = tasksOf(offsets, shape, false);
  byType(qkv, [&]<class T>(T) {
    inParallel(static_cast<int64_t>(tasks.size()), [&](int64_t i) { Worker<T>(shape, tasks[i], data<T>(qkv)).forward(data<T>(out), data<float>(logSumExp), tokens); });
  });
}

/// Writes the key and value gradients of one head of a sequence, summed over the parts that worked on it.
template <class T> void writeKeysAndValues(const Task& task, const Worker<T>& worker, const Shape& shape, float* first, T* dqkv) {
  const int64_t each = task.length * worker.wide();
  for (int64_t part = 1; part < task.parts; part++) level().axpy(first + part * 2 * each, first, 2 * each, 1);
  for (int64_t i = 0; i < task.length; i++) {
    T* row = dqkv + (task.start + i) * shape.width();
    level().rows<T>().narrow(first + i * worker.wide(), row + worker.keyColumn(), shape.dim);
    level().rows<T>().narrow(first + each + i * worker.wide(), row + worker.valueColumn(), shape.dim);
  }
}

void attentionBackward(const Tensor& grad, const Tensor& qkv, const Tensor& output, const Tensor& logSumExp, const std::vector<int64_t>& offsets, int64_t heads, int64_t kvHeads, int64_t dim, double scale, const Tensor& out) {
  const Shape shape = checked(qkv, offsets, heads, kvHeads, dim, scale);
  const int64_t tokens = qkv.size(0);
  checkContiguous(grad, "grad", qkv.scalar_type(), tokens * heads * dim);
  checkContiguous(output, "output", qkv.scalar_type(), tokens * heads * dim);
  checkContiguous(logSumExp, "log_sum_exp", at::kFloat, heads * tokens);
  checkContiguous(out, "out", qkv.scalar_type(), tokens * shape.width());
  auto tasks = tasksOf(offsets, shape, true);
  // Parts of one head lie one after another, first part first, so that their sums can be added up.
  int64_t floats = 0;
  const int64_t wide = roundUp(dim, level().nr);
  for (Task& task : tasks) {
    task.partial = floats;
    floats += 2 * task.length * wide;
  }
  static Scratch scratch;
  float* partial = scratch.floats(floats);
  byType(qkv, [&]<class T>(T) {
    inParallel(static_cast<int64_t>(tasks.size()), [&](int64_t i) {
      const Task& task = tasks[i];
      Worker<T> worker(shape, task, data<T>(qkv));
      float* keys = partial + task.partial;
      std::memset(keys, 0, 2 * task.length * wide * sizeof(float));
      worker.backward(data<T>(grad), data<T>(output), data<float>(logSumExp), tokens, data<T>(out), keys, keys + task.length * wide);
      if (task.parts == 1) writeKeysAndValues<T>(task, worker, shape, keys, data<T>(out));
    });
    inParallel(static_cast<int64_t>(tasks.size()), [&](int64_t i) {
      const Task& task = tasks[i];
      if (task.parts > 1 && task.part == 0) writeKeysAndValues<T>(task, Worker<T>(shape, task, data<T>(qkv)), shape, partial + task.partial, data<T>(out));
    });
  });
}

TORCH_LIBRARY_FRAGMENT(fettle, m) {
  m.def("attention_forward(Tensor qkv, int[] offsets, int heads, int kv_heads, int head_dim, float scale, Tensor(a!) out, Tensor(b!) log_sum_exp) -> ()", attentionForward);
  m.def("attention_backward(Tensor grad, Tensor qkv, Tensor output, Tensor log_sum_exp, int[] offsets, int heads, int kv_heads, int head_dim, float scale, Tensor(a!) out) -> ()", attentionBackward);
}

}  // namespace
}  // namespace fettle
