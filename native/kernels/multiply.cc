#include "multiply.h"

#include "dispatch.h"
#include "half-multiply.h"
#include "parallel.h"
#include "scratch.h"
#include "sizes.h"

#include <algorithm>
#include <cstring>

namespace fettle {
namespace {

constexpr int64_t kBlockRows = 96;
constexpr int64_t kBlockColumns = 512;
constexpr int64_t kFewColumns = 64;
constexpr int64_t kPackedFloats = int64_t(2) << 20;  // 8 MiB: stays in the last-level cache

const void* element(const Matrix& m, int64_t row, int64_t column) {
  const int64_t offset = m.transposed ? column * m.ld + row : row * m.ld + column;
  return static_cast<const char*>(m.data) + offset * (m.half ? 2 : 4);
}

/// One call: columns are taken in chunks whose packed B fits the cache, a chunk in blocks that threads take in turn.
class Multiplication {
 public:
  Multiplication(const Result& result, int64_t rows, int64_t columns, const std::vector<Product>& products)
      : level_(level()), result_(result), rows_(rows), columns_(columns), products_(products), nr_(level_.nr) {
    for (const Product& p : products) depths_ += p.depth;
  }

  void run() {
    if (fewRows()) return runFewRows();
    if (std::all_of(products_.begin(), products_.end(), [](const Product& p) { return p.a.half && p.b.half; }) && !products_.empty())
      return HalfMultiplication(result_, rows_, columns_, products_).run();
    const int64_t chunkPanels = std::max<int64_t>(1, kPackedFloats / (std::max<int64_t>(depths_, 1) * nr_));
    for (int64_t first = 0; first < columns_; first += chunkPanels * nr_) chunk(first, std::min(columns_ - first, chunkPanels * nr_));
  }

 private:
  static Scratch& packed() {
    static Scratch scratch;
    return scratch;
  }
  static Scratch& local() {
    static thread_local Scratch scratch;
    return scratch;
  }

  bool fewRows() const {
    return rows_ <= kFewRows && std::all_of(products_.begin(), products_.end(), [](const Product& p) { return p.b.transposed && !p.a.transposed; });
  }

  void runFewRows() const {
    // All of A in fp32, in the order in which its weights are read; every task reads it.
    float* rows = packed().floats(rows_ * std::max<int64_t>(depths_, 1));
    for (float* to = rows; const Product& p : products_) {
      widen(p, p.scale, 0, rows_, 0, p.depth, to);
      for (int64_t i = 0; p.b.half && i < rows_; i++) level_.arrange(to + i * p.depth, p.depth);
      to += rows_ * p.depth;
    }
    inParallel(divideUp(columns_, kFewColumns), [&](int64_t task) {
      const int64_t first = task * kFewColumns, width = std::min(kFewColumns, columns_ - first);
      float* sums = local().floats(rows_ * kFewColumns);
      std::memset(sums, 0, rows_ * kFewColumns * sizeof(float));
      const float* a = rows;
      for (const Product& p : products_) {
        const int64_t from = std::max(first, p.start), count = std::min(first + width, p.start + p.columns) - from;
        if (count > 0) dots(p, from - p.start, count, a, sums + from - first);
        a += rows_ * p.depth;
      }
      if (result_.half) finish<bf16>(sums, kFewColumns, 0, rows_, first, width);
      else finish<float>(sums, kFewColumns, 0, rows_, first, width);
    });
  }

  void dots(const Product& p, int64_t column, int64_t count, const float* a, float* sums) const {
    const void* w = element(p.b, 0, column);
    if (p.b.half) level_.b16.dots(static_cast<const bf16*>(w), p.b.ld, count, a, p.depth, rows_, p.depth, sums, kFewColumns);
    else level_.f32.dots(static_cast<const float*>(w), p.b.ld, count, a, p.depth, rows_, p.depth, sums, kFewColumns);
  }

  void chunk(int64_t first, int64_t width) {
    panels_ = divideUp(width, nr_);
    packed_ = packed().floats(panels_ * depths_ * nr_);
    inParallel(panels_ * static_cast<int64_t>(products_.size()), [&](int64_t task) { pack(task / panels_, first, task % panels_); });
    const int64_t threads = threadCount();
    // Blocks of equal height, their number a multiple of the threads when there are more of them than one.
    int64_t rowBlocks = divideUp(rows_, kBlockRows);
    if (rowBlocks > 1) rowBlocks = divideUp(rowBlocks, threads) * threads;
    const int64_t height = divideUp(divideUp(rows_, rowBlocks), 12) * 12;
    rowBlocks = divideUp(rows_, height);
    const int64_t panelsEach = evenShare(panels_, kBlockColumns / nr_, rowBlocks);
    const int64_t columnBlocks = divideUp(panels_, panelsEach);
    inParallel(rowBlocks * columnBlocks, [&](int64_t task) {
      const int64_t row = task / columnBlocks * height, panel = task % columnBlocks * panelsEach;
      block(first, width, row, std::min(height, rows_ - row), panel, std::min(panelsEach, panels_ - panel));
    });
  }

  float* panelOf(int64_t product, int64_t panel) const {
    int64_t before = 0;
    for (int64_t q = 0; q < product; q++) before += products_[q].depth;
    return packed_ + before * panels_ * nr_ + panel * products_[product].depth * nr_;
  }

  void pack(int64_t product, int64_t first, int64_t index) const {
    const Product& p = products_[product];
    const int64_t column = first + index * nr_;
    const int64_t from = std::max(column, p.start), to = std::min(column + nr_, p.start + p.columns);
    if (from >= to) return;
    float* panel = panelOf(product, index);
    const int64_t shift = from - column;
    float* target = shift == 0 ? panel : local().floats(p.depth * nr_);
    level_.pack(static_cast<const float*>(element(p.b, 0, from - p.start)), p.b.ld, p.b.transposed, p.depth, to - from, target);
    if (p.scale != 1) level_.f32.widen(target, target, p.depth * nr_, p.scale);
    if (shift == 0) return;
    // The product starts inside this panel: its columns move right, zeros before them.
    for (int64_t k = 0; k < p.depth; k++) {
      std::memset(panel + k * nr_, 0, shift * sizeof(float));
      std::memcpy(panel + k * nr_ + shift, target + k * nr_, (nr_ - shift) * sizeof(float));
    }
  }

  /// Copies A's rows [row, row + height) and columns [k, k + depth), scaled, as fp32, in the order they lie in memory.
  void widen(const Product& p, float scale, int64_t row, int64_t height, int64_t k, int64_t depth, float* to) const {
    const int64_t lines = p.a.transposed ? depth : height, length = p.a.transposed ? height : depth;
    for (int64_t i = 0; i < lines; i++) {
      const void* from = p.a.transposed ? element(p.a, row, k + i) : element(p.a, row + i, k);
      if (p.a.half) level_.b16.widen(static_cast<const bf16*>(from), to + i * length, length, scale);
      else level_.f32.widen(static_cast<const float*>(from), to + i * length, length, scale);
    }
  }

  /// A's rows can be read where they lie: as they are, and not at a distance that puts all of them into the same cache sets.
  static bool lies(const Product& p) { return !p.a.half && !p.a.transposed && p.a.ld % 1024 != 0; }

  void block(int64_t first, int64_t width, int64_t row, int64_t height, int64_t panel, int64_t count) const {
    const int64_t deepest = 6144 / nr_, reach = count * nr_, column = first + panel * nr_, columns = std::min(reach, first + width - column);
    const bool whole = !products_.empty() && products_[0].depth > 0 && products_[0].start == 0 && products_[0].columns == columns_;
    // Full panels of fp32 to which nothing else is added are summed where they belong.
    const bool onto = result_.residual == result_.data && result_.residualLd == result_.ld;
    const bool inPlace = whole && columns == reach && !result_.half && !result_.bias && (onto || !result_.residual);
    float* a = local().floats(height * (reach + deepest + 8));
    float* sums = inPlace ? static_cast<float*>(result_.data) + row * result_.ld + column : a + height * (deepest + 8);
    const int64_t ldc = inPlace ? result_.ld : reach;
    if (!whole) std::memset(sums, 0, height * ldc * sizeof(float));
    for (size_t q = 0; q < products_.size(); q++) {
      const Product& p = products_[q];
      // The panels of this block that the product reaches.
      const int64_t from = std::max(panel, std::max<int64_t>(0, p.start - first) / nr_), to = std::min(panel + count, divideUp(p.start + p.columns - first, nr_));
      if (from >= to) continue;
      const int64_t pieces = divideUp(p.depth, deepest), piece = divideUp(divideUp(p.depth, std::max<int64_t>(pieces, 1)), 8) * 8;
      for (int64_t k = 0; k < p.depth; k += piece) {
        const int64_t depth = std::min(piece, p.depth - k);
        const float* rows = lies(p) ? static_cast<const float*>(element(p.a, row, k)) : a;
        if (rows == a) widen(p, 1, row, height, k, depth, a);
        level_.multiply(rows, p.a.transposed ? 1 : rows == a ? depth : p.a.ld, p.a.transposed ? height : 1, panelOf(q, from) + k * nr_, p.depth * nr_, to - from,
                        sums + (from - panel) * nr_, ldc, height, depth, (inPlace && onto) || !(whole && q == 0 && k == 0));
      }
    }
    if (inPlace) return;
    if (result_.half) finish<bf16>(sums, ldc, row, height, column, columns);
    else finish<float>(sums, ldc, row, height, column, columns);
  }

  template <class T> void finish(const float* sums, int64_t ldc, int64_t row, int64_t height, int64_t column, int64_t columns) const {
    const T *bias = static_cast<const T*>(result_.bias), *residual = static_cast<const T*>(result_.residual);
    T* out = static_cast<T*>(result_.data);
    for (int64_t i = 0; i < height; i++)
      level_.rows<T>().finish(sums + i * ldc, bias ? bias + column : nullptr, residual ? residual + (row + i) * result_.residualLd + column : nullptr,
                              out + (row + i) * result_.ld + column, columns);
  }

  const Level& level_;
  const Result& result_;
  const int64_t rows_, columns_;
  const std::vector<Product>& products_;
  const int64_t nr_;
  int64_t depths_ = 0, panels_ = 0;
  float* packed_ = nullptr;
};

}  // namespace

void multiplyInto(const Result& result, int64_t rows, int64_t columns, const std::vector<Product>& products) {
  if (rows == 0 || columns == 0) return;
  Multiplication(result, rows, columns, products).run();
}

}  // namespace fettle
