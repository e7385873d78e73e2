// One task of attention. The query heads that share a key-value head are rows of one matrix; scores exist for one block of
// queries at a time, in fp32. Backward recomputes them from the saved log-sum-exp (Dao et al., arXiv 2205.14135, without its
// tiling of keys: a block's rows fit the cache).
#pragma once
#include "attention.h"
#include "dispatch.h"
#include "panels.h"
#include "scratch.h"

#include <algorithm>
#include <cstring>

namespace fettle {

template <class T> class AttentionWorker {
 public:
  using P = Panels<T>;

  AttentionWorker(const AttentionShape& shape, const AttentionTask& task, const T* qkv, const Past<T>& past)
      : level_(level()), rows_(level_.rows<T>()), shape_(shape), task_(task), past_(past), keys_(shape.places + task.length), dim_(shape.dim),
        keyWidth_(P::width(keys_)), dimWidth_(P::width(dim_)), keyColumns_(roundedUp(keys_, keyWidth_)), dimColumns_(roundedUp(dim_, dimWidth_)) {
    base_ = qkv + task.start * shape.width();
    positions_ = std::max<int64_t>(1, attentionBlockRows(shape, keys_) / shape.group());
    most_ = roundedUp(positions_ * shape.group(), kRowUnit);
  }

  /// Floats of a gradient of keys or values: rows of keys, `gradientWidth()` apart.
  int64_t gradientFloats() const { return roundedUp(keys_, kRowUnit) * dimColumns_; }
  int64_t gradientWidth() const { return dimColumns_; }

  /// out [N, heads · dim], logSumExp [heads, N].
  void forward(T* out, float* logSumExp, int64_t tokens) {
    Pieces memory(local().floats(sharedFloats() + keyPanels() + valuePanels() + most_ * (keyColumns_ + dimColumns_)));
    T* keys = memory.template take<T>(keyPanels());
    T* values = memory.template take<T>(valuePanels());
    prepare(memory);
    float* scores = memory.template take<float>(most_ * keyColumns_);
    float* result = memory.template take<float>(most_ * dimColumns_);
    packTransposed(keyRows(), keys);
    packRows(valueRows(), values);
    eachBlock([&](const Block& block) {
      gather(base_ + block.first * shape_.width() + shape_.queries(task_.kv), shape_.width(), block.count, queries_);
      scoresOf(P::rows(queries_, dim_, block.m, dim_, left_), keys, block, scores);
      for (int64_t r = 0; r < block.m; r++) {
        const Span span = spanOf(block.first + r / shape_.group());
        float* s = scores + r * keyColumns_;
        const float scale = penalize(s, r, block.first + r / shape_.group(), span);
        std::memset(s + block.from, 0, (span.from - block.from) * sizeof(float));
        logSumExp[headOf(r) * tokens + task_.start + block.first + r / shape_.group()] = level_.softmax(s + span.from, span.to - span.from, block.to - span.from, scale);
      }
      const int64_t seen = std::min(block.to, keys_) - block.from;
      const Left p = P::computed(scores + block.from, keyColumns_, block.m, seen, false, converted_);
      P::multiply(p, values + block.from * dimWidth_, P::depth(keys_) * dimWidth_, dimColumns_ / dimWidth_, dimWidth_, result, dimColumns_, block.m, seen, false);
      scatter(result, out + (task_.start + block.first) * shape_.heads * dim_ + task_.kv * shape_.group() * dim_, shape_.heads * dim_, block.count);
    });
    P::done();
  }

  /// Gradient of qkv: that of queries is written to dqkv, those of keys and values are added to dKeys and dValues.
  void backward(const T* grad, const T* out, const float* logSumExp, int64_t tokens, T* dqkv, float* dKeys, float* dValues) {
    Pieces memory(local().floats(sharedFloats() + 2 * keyPanels() + valuePanels() + most_ * (2 * keyColumns_ + dimColumns_ + 4 * dim_) + 2 * rowPanels()));
    T* keys = memory.template take<T>(keyPanels());
    T* values = memory.template take<T>(keyPanels());
    T* keyLines = memory.template take<T>(valuePanels());
    prepare(memory);
    T* g = memory.template take<T>(most_ * dim_);
    float* wideG = memory.template take<float>(most_ * dim_);
    float* wideOut = memory.template take<float>(most_ * dim_);
    float* p = memory.template take<float>(most_ * keyColumns_);
    float* ds = memory.template take<float>(most_ * keyColumns_);
    float* dq = memory.template take<float>(most_ * dimColumns_);
    T* panels = memory.template take<T>(rowPanels());
    packTransposed(keyRows(), keys);
    packRows(keyRows(), keyLines);
    packTransposed(valueRows(), values);
    const int64_t outWidth = shape_.heads * dim_, outColumn = task_.kv * shape_.group() * dim_;
    eachBlock([&](const Block& block) {
      gather(base_ + block.first * shape_.width() + shape_.queries(task_.kv), shape_.width(), block.count, queries_);
      gather(grad + (task_.start + block.first) * outWidth + outColumn, outWidth, block.count, g);
      widen(out + (task_.start + block.first) * outWidth + outColumn, outWidth, block.count, wideOut);
      rows_.widen(g, wideG, block.m * dim_, 1);
      scoresOf(P::rows(queries_, dim_, block.m, dim_, left_), keys, block, p);
      scoresOf(P::rows(g, dim_, block.m, dim_, left_), values, block, ds);
      for (int64_t r = 0; r < block.m; r++) {
        const int64_t position = block.first + r / shape_.group();
        const Span span = spanOf(position);
        float *own = p + r * keyColumns_, *d = ds + r * keyColumns_;
        const float scale = penalize(own, r, position, span);
        std::memset(own + block.from, 0, (span.from - block.from) * sizeof(float));
        std::memset(d + block.from, 0, (span.from - block.from) * sizeof(float));
        level_.softmaxAgain(own + span.from, span.to - span.from, block.to - span.from, scale, logSumExp[headOf(r) * tokens + task_.start + position]);
        level_.softmaxBackward(own + span.from, d + span.from, span.to - span.from, block.to - span.from, shape_.scale, level_.dot(wideG + r * dim_, wideOut + r * dim_, dim_));
      }
      // An odd last row's partner in a pair.
      std::memset(p + block.m * keyColumns_ + block.from, 0, (block.m & 1) * (block.to - block.from) * sizeof(float));
      std::memset(ds + block.m * keyColumns_ + block.from, 0, (block.m & 1) * (block.to - block.from) * sizeof(float));
      const int64_t seen = std::min(block.to, keys_) - block.from, step = P::depth(keys_) * dimWidth_, count = dimColumns_ / dimWidth_;
      P::multiply(P::computed(ds + block.from, keyColumns_, block.m, seen, false, converted_), keyLines + block.from * dimWidth_, step, count, dimWidth_, dq, dimColumns_, block.m, seen, false);
      scatter(dq, dqkv + (task_.start + block.first) * shape_.width() + shape_.queries(task_.kv), shape_.width(), block.count);
      addColumns(ds, block, queries_, panels, dKeys);
      addColumns(p, block, g, panels, dValues);
    });
    P::done();
  }

 private:
  /// Keys [from, to) that a query sees, counted from the first place of the prefix.
  struct Span {
    int64_t from, to;
  };
  /// Queries [first, first + count) of the sequence, as m rows, and the panels of keys that they see.
  struct Block {
    int64_t first, count, m, from, to;
  };

  static Scratch& local() {
    static thread_local Scratch scratch;
    return scratch;
  }
  int64_t keyPanels() const { return keyColumns_ * P::depth(dim_) + 16; }
  int64_t valuePanels() const { return P::depth(keys_) * dimColumns_ + 16; }
  int64_t rowPanels() const { return P::depth(most_) * dimColumns_ + 16; }
  int64_t convertedFloats() const { return (most_ + kDepthUnit) * (keyColumns_ + kDepthUnit) + 64; }
  int64_t sharedFloats() const { return most_ * dim_ + rowFloats(most_, dim_) + convertedFloats() + (shape_.places > 0 ? 2 * keys_ * dim_ : 0) + 512; }

  void prepare(Pieces& memory) {
    queries_ = memory.template take<T>(most_ * dim_);
    left_ = memory.template take<float>(rowFloats(most_, dim_));
    converted_ = memory.template take<float>(convertedFloats());
    if (shape_.places == 0) return;
    // Behind a prefix keys and values are copied together once.
    for (int64_t kind = 0; kind < 2; kind++) {
      T* lines = joined_[kind] = memory.template take<T>(keys_ * dim_);
      for (int64_t i = 0; i < shape_.places; i++) std::memcpy(lines + i * dim_, past_.data + i * past_.placeStride + kind * past_.kindStride + task_.kv * dim_, dim_ * sizeof(T));
      const T* from = base_ + (kind == 0 ? shape_.key(task_.kv) : shape_.value(task_.kv));
      for (int64_t i = 0; i < task_.length; i++) std::memcpy(lines + (shape_.places + i) * dim_, from + i * shape_.width(), dim_ * sizeof(T));
    }
  }

  struct Lines {
    const T* data;
    int64_t ld;
  };
  Lines keyRows() const { return shape_.places > 0 ? Lines{joined_[0], dim_} : Lines{base_ + shape_.key(task_.kv), shape_.width()}; }
  Lines valueRows() const { return shape_.places > 0 ? Lines{joined_[1], dim_} : Lines{base_ + shape_.value(task_.kv), shape_.width()}; }
  int64_t headOf(int64_t row) const { return task_.kv * shape_.group() + row % shape_.group(); }

  Span spanOf(int64_t position) const {
    const int64_t first = shape_.window == 0 || position < task_.seen ? 0 : std::max<int64_t>(0, shape_.places + position - shape_.window + 1);
    return {task_.seen > 0 ? 0 : first, shape_.places + std::max(position + 1, task_.seen)};
  }

  template <class Body> void eachBlock(const Body& body) const {
    for (int64_t first = task_.part * positions_; first < task_.length; first += task_.parts * positions_) {
      const int64_t count = std::min(positions_, task_.length - first);
      body(Block{first, count, count * shape_.group(), spanOf(first).from / keyWidth_ * keyWidth_, roundedUp(spanOf(first + count - 1).to, keyWidth_)});
    }
  }

  void scoresOf(const Left& left, const T* panels, const Block& block, float* to) const {
    const int64_t step = P::depth(dim_) * keyWidth_;
    P::multiply(left, panels + block.from / keyWidth_ * step, step, (block.to - block.from) / keyWidth_, keyWidth_, to + block.from, keyColumns_, block.m, dim_, false);
  }

  /// With slopes the scores are scaled here already; what is left to scale them by.
  float penalize(float* scores, int64_t row, int64_t position, const Span& span) const {
    if (!shape_.slopes) return shape_.scale;
    level_.penalize(scores + span.from, span.to - span.from, shape_.scale, shape_.slopes[headOf(row)], static_cast<float>(span.from - shape_.places - position));
    return 1;
  }

  /// sums [keys, dim] += scoresᵀ · rows.
  void addColumns(const float* scores, const Block& block, const T* rows, T* panels, float* sums) const {
    const int64_t step = P::depth(block.m) * dimWidth_, seen = std::min(block.to, keys_) - block.from;
    for (int64_t j = 0; j < dim_; j += dimWidth_) P::pack(rows + j, dim_, false, block.m, std::min(dimWidth_, dim_ - j), dimWidth_, panels + j / dimWidth_ * step);
    P::multiply(P::computed(scores + block.from, keyColumns_, seen, block.m, true, converted_), panels, step, dimColumns_ / dimWidth_, dimWidth_, sums + block.from * dimColumns_, dimColumns_, seen, block.m, true);
  }

  /// Rows of positions, heads of the group side by side → one row per (position, head).
  void gather(const T* from, int64_t stride, int64_t count, T* to) const {
    const int64_t width = shape_.group() * dim_;
    for (int64_t i = 0; i < count; i++) std::memcpy(to + i * width, from + i * stride, width * sizeof(T));
  }
  void widen(const T* from, int64_t stride, int64_t count, float* to) const {
    const int64_t width = shape_.group() * dim_;
    for (int64_t i = 0; i < count; i++) rows_.widen(from + i * stride, to + i * width, width, 1);
  }
  void scatter(const float* from, T* to, int64_t stride, int64_t count) const {
    for (int64_t i = 0; i < count; i++)
      for (int64_t h = 0; h < shape_.group(); h++) rows_.narrow(from + (i * shape_.group() + h) * dimColumns_, to + i * stride + h * dim_, dim_);
  }
  /// Right-hand side [dim, keys]: column j is key j.
  void packTransposed(const Lines& lines, T* to) const {
    for (int64_t j = 0; j < keys_; j += keyWidth_) P::pack(lines.data + j * lines.ld, lines.ld, true, dim_, std::min(keyWidth_, keys_ - j), keyWidth_, to + j * P::depth(dim_));
  }
  /// Right-hand side [keys, dim].
  void packRows(const Lines& lines, T* to) const {
    for (int64_t j = 0; j < dim_; j += dimWidth_) P::pack(lines.data + j, lines.ld, false, keys_, std::min(dimWidth_, dim_ - j), dimWidth_, to + j * P::depth(keys_));
  }

  const Level& level_;
  const RowKernels<T>& rows_;
  const AttentionShape& shape_;
  const AttentionTask& task_;
  const Past<T>& past_;
  const int64_t keys_, dim_, keyWidth_, dimWidth_, keyColumns_, dimColumns_;
  const T* base_;
  int64_t positions_, most_;
  T *queries_ = nullptr, *joined_[2] = {nullptr, nullptr};
  float *left_ = nullptr, *converted_ = nullptr;
};

}  // namespace fettle
