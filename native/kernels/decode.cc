// Attention of one new token a row over keys and values that are kept: the token's own are appended, and the row's are
// read once, in blocks that threads take in turn. Softmax in fp32, by block; blocks are joined by their log-sum-exp
// (Dao et al., "Flash-Decoding for long-context inference", 2023).
#include "decode.h"

#include "dispatch.h"
#include "parallel.h"
#include "scratch.h"

#include <torch/library.h>

#include <cstring>

namespace fettle {
namespace {

using at::Tensor;
using Optional = std::optional<Tensor>;

/// Keys of a block.
constexpr int64_t kBlock = 256;

/// Keys [first, first + count) of one key-value head of a row; `last`: the new token's is among them.
struct Task { int64_t row, kv, first, count; bool last; };

std::vector<Task> tasksOf(const std::vector<int64_t>& lengths, const Heads& shape, const Bias& bias) {
  std::vector<Task> tasks;
  for (size_t row = 0; row < lengths.size(); row++) {
    const int64_t first = bias.first(row, lengths[row]);
    for (int64_t kv = 0; kv < shape.kvHeads; kv++)
      for (int64_t block = first; block < lengths[row]; block += kBlock)
        tasks.push_back({static_cast<int64_t>(row), kv, block, std::min(kBlock, lengths[row] - block), block + kBlock >= lengths[row]});
  }
  return tasks;
}

template <class T> class Decode {
 public:
  Decode(const Heads& shape, const T* qkv, const Cache& cache, const Bias& bias)
      : level_(level()), shape_(shape), qkv_(qkv), keys_(data<T>(cache.keys)), values_(data<T>(cache.values)), capacity_(cache.keys.size(1)), bias_(bias) {}

  /// Floats of a task's result: [group, dim], then the log-sum-exp of each of the group's heads.
  int64_t each() const { return shape_.group() * (shape_.dim + 1); }

  void run(const Task& task, float* result) const {
    const int64_t group = shape_.group(), dim = shape_.dim, step = shape_.kvHeads * dim;
    const T* qkv = qkv_ + task.row * shape_.width();
    const int64_t start = ((task.row * capacity_ + task.first) * shape_.kvHeads + task.kv) * dim;
    if (task.last) {
      std::memcpy(keys_ + start + (task.count - 1) * step, qkv + shape_.key(task.kv), dim * sizeof(T));
      std::memcpy(values_ + start + (task.count - 1) * step, qkv + shape_.value(task.kv), dim * sizeof(T));
    }
    float* q = local().floats(group * (dim + kBlock));
    float* scores = q + group * dim;
    level_.rows<T>().widen(qkv + shape_.queries(task.kv), q, group * dim, shape_.scale);
    if constexpr (sizeof(T) == 2)
      for (int64_t g = 0; g < group; g++) level_.arrange(q + g * dim, dim);
    std::memset(scores, 0, group * kBlock * sizeof(float));
    level_.rows<T>().dots(keys_ + start, step, task.count, q, dim, group, dim, scores, kBlock);
    for (int64_t g = 0; g < group; g++) {
      if (bias_.present() && !bias_.seenOnly()) level_.rows<T>().accumulate(bias_.at<T>(task.row, task.kv * group + g) + task.first, scores + g * kBlock, task.count);
      result[group * dim + g] = level_.softmax(scores + g * kBlock, task.count, task.count, 1);
    }
    std::memset(result, 0, group * dim * sizeof(float));
    level_.rows<T>().mix(values_ + start, step, dim, scores, kBlock, group, task.count, result, dim);
  }

  /// One key-value head's blocks, `count` results one after another → its part of out's row. The first result is overwritten.
  void join(float* results, int64_t count, T* out) const {
    const int64_t group = shape_.group(), dim = shape_.dim;
    for (int64_t g = 0; g < group && count > 1; g++) {
      float top = -INFINITY, total = 0;
      for (int64_t b = 0; b < count; b++) top = std::max(top, results[b * each() + group * dim + g]);
      for (int64_t b = 0; b < count; b++) total += std::exp(results[b * each() + group * dim + g] - top);
      for (int64_t b = 0; b < count; b++) {
        const float share = std::exp(results[b * each() + group * dim + g] - top) / total;
        level_.axpy(results + b * each() + g * dim, results + g * dim, dim, b == 0 ? share - 1 : share);
      }
    }
    level_.rows<T>().narrow(results, out, group * dim);
  }

 private:
  static Scratch& local() {
    static thread_local Scratch scratch;
    return scratch;
  }
  const Level& level_;
  const Heads& shape_;
  const T* qkv_;
  T *keys_, *values_;
  const int64_t capacity_;
  const Bias& bias_;
};

}  // namespace

void checkCache(const Cache& cache, const Heads& shape, const Bias& bias, at::ScalarType type) {
  const auto& [keys, values, lengths] = cache;
  const int64_t rows = static_cast<int64_t>(lengths.size());
  TORCH_CHECK(shape.kvHeads > 0 && shape.heads % shape.kvHeads == 0, "expected heads to be a multiple of key-value heads, got ", shape.heads, " and ", shape.kvHeads);
  TORCH_CHECK(keys.dim() == 4 && keys.size(0) == rows && keys.size(2) == shape.kvHeads && keys.size(3) == shape.dim, "expected keys [", rows, ", capacity, ", shape.kvHeads, ", ", shape.dim, "], got ", keys.sizes());
  checkContiguous(keys, "keys", type, keys.numel());
  checkContiguous(values, "values", type, keys.numel());
  for (int64_t length : lengths) TORCH_CHECK(length > 0 && length <= keys.size(1), "expected lengths from 1 to the capacity ", keys.size(1), ", got ", length);
  if (!bias.present()) return;
  const Tensor& b = *bias.tensor;
  TORCH_CHECK(b.device().is_cpu() && (b.scalar_type() == at::kBool || b.scalar_type() == type), "expected a bias of bool or ", type, " on the CPU, got ", b.scalar_type());
  TORCH_CHECK(b.dim() == 4 && b.size(0) == rows && (b.size(1) == 1 || b.size(1) == shape.heads) && b.stride(3) == 1, "expected a bias [", rows, ", 1 or ", shape.heads, ", 1, longest], got ", b.sizes());
  for (int64_t length : lengths) TORCH_CHECK(length <= b.size(3), "expected a bias for ", length, " keys, got ", b.sizes());
}

template <class T> void attendOver(const T* qkv, const Cache& cache, const Heads& shape, const Bias& bias, T* out) {
  static Scratch scratch;
  const auto tasks = tasksOf(cache.lengths, shape, bias);
  const Decode<T> decode(shape, qkv, cache, bias);
  float* results = scratch.floats(static_cast<int64_t>(tasks.size()) * decode.each());
  inParallel(static_cast<int64_t>(tasks.size()), [&](int64_t i) { decode.run(tasks[i], results + i * decode.each()); });
  for (size_t i = 0, first = 0; i < tasks.size(); i++) {
    if (!tasks[i].last) continue;
    decode.join(results + first * decode.each(), static_cast<int64_t>(i + 1 - first), out + (tasks[i].row * shape.heads + tasks[i].kv * shape.group()) * shape.dim);
    first = i + 1;
  }
}
template void attendOver<float>(const float*, const Cache&, const Heads&, const Bias&, float*);
template void attendOver<bf16>(const bf16*, const Cache&, const Heads&, const Bias&, bf16*);

namespace {

void decodeAttention(const Tensor& qkv, const Tensor& keys, const Tensor& values, const std::vector<int64_t>& lengths, const Optional& added, int64_t heads, int64_t kvHeads, int64_t dim, bool grouped, double scale, const Tensor& out) {
  const Heads shape{heads, kvHeads, dim, grouped, static_cast<float>(scale)};
  const Bias bias{added};
  const Cache cache{keys, values, lengths};
  const int64_t rows = static_cast<int64_t>(lengths.size());
  checkMatrix(qkv, "qkv", rows, shape.width());
  checkContiguous(qkv, "qkv", qkv.scalar_type(), qkv.numel());
  checkContiguous(out, "out", qkv.scalar_type(), rows * heads * dim);
  checkCache(cache, shape, bias, qkv.scalar_type());
  byType(qkv, [&]<class T>(T) { attendOver<T>(data<T>(qkv), cache, shape, bias, data<T>(out)); });
}

TORCH_LIBRARY_FRAGMENT(fettle, m) {
  m.def("decode_attention(Tensor qkv, Tensor(a!) keys, Tensor(b!) values, int[] lengths, Tensor? bias, int heads, int kv_heads, int head_dim, bool grouped, float scale, Tensor(c!) out) -> ()", decodeAttention);
}

}  // namespace
}  // namespace fettle
