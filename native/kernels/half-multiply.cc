#include "half-multiply.h"

#include "dispatch.h"
#include "half.h"
#include "parallel.h"
#include "scratch.h"

#include <algorithm>
#include <cstring>

namespace fettle {
namespace {

constexpr int64_t kRows = 64;
/// Elements of B that a block multiplies by: they stay in a core's cache while the rows go by.
constexpr int64_t kBlockElements = int64_t(1) << 18;
constexpr int64_t kPackedElements = int64_t(4) << 20;  // 8 MiB: stays in the last-level cache
constexpr int64_t kMostPanels = 8;

const bf16* element(const Matrix& m, int64_t row, int64_t column) {
  return static_cast<const bf16*>(m.data) + (m.transposed ? column * m.ld + row : row * m.ld + column);
}

Scratch& packedScratch() {
  static Scratch scratch;
  return scratch;
}
Scratch& local() {
  static thread_local Scratch scratch;
  return scratch;
}

}  // namespace

HalfMultiplication::HalfMultiplication(const Result& result, int64_t rows, int64_t columns, const std::vector<Product>& products)
    : result_(result), rows_(rows), columns_(columns), products_(products), width_(panelWidth(columns)), panels_(divideUp(columns, width_)) {
  for (const Product& p : products)
    if (!p.packed) depths_ += roundedUp(p.depth, kDepthUnit);
}

void HalfMultiplication::run() {
  const int64_t most = depths_ == 0 ? panels_ : std::max<int64_t>(1, kPackedElements / (depths_ * width_));
  for (int64_t first = 0; first < panels_; first += most) chunk(first, std::min(most, panels_ - first));
}

void HalfMultiplication::chunk(int64_t first, int64_t panels) {
  first_ = first;
  chunk_ = panels;
  before_.clear();
  std::vector<size_t> toPack;
  int64_t elements = 0;
  for (size_t q = 0; q < products_.size(); q++) {
    before_.push_back(elements);
    if (products_[q].packed) continue;
    elements += panels * panelElements(products_[q].depth, width_);
    toPack.push_back(q);
  }
  if (elements > 0) scratch_ = reinterpret_cast<bf16*>(packedScratch().floats(divideUp(elements, 2)));
  inParallel(panels * static_cast<int64_t>(toPack.size()), [&](int64_t task) {
    const size_t q = toPack[task / panels];
    const Product& p = products_[q];
    const int64_t column = (first + task % panels) * width_ - p.start, count = std::min(width_, p.columns - column);
    if (column < 0 || count <= 0) return;
    level().packPairs(element(p.b, 0, column), p.b.ld, p.b.transposed, p.depth, count, roundedUp(p.depth, kDepthUnit), width_, const_cast<bf16*>(panelOf(q, first + task % panels)));
  });
  int64_t deepest = kDepthUnit;
  for (const Product& p : products_) deepest = std::max(deepest, roundedUp(p.depth, kDepthUnit));
  const int64_t rowBlocks = divideUp(rows_, kRows), height = roundedUp(divideUp(rows_, rowBlocks), kRowUnit);
  const int64_t most = std::clamp<int64_t>(kBlockElements / (deepest * width_), 1, kMostPanels);
  const int64_t each = evenShare(panels, most, rowBlocks);
  const int64_t blocks = divideUp(rows_, height);
  inParallel(blocks * divideUp(panels, each), [&](int64_t task) {
    const int64_t row = task % blocks * height, panel = first + task / blocks * each;
    block(row, std::min(height, rows_ - row), panel, std::min(each, first + panels - panel));
    halfDone();
  });
}

const bf16* HalfMultiplication::panelOf(size_t product, int64_t panel) const {
  const Product& p = products_[product];
  const int64_t size = panelElements(p.depth, width_);
  if (p.packed) return p.packed + (panel - p.start / width_) * size;
  return scratch_ + before_[product] + (panel - first_) * size;
}

void HalfMultiplication::block(int64_t row, int64_t height, int64_t panel, int64_t count) const {
  const int64_t ldc = count * width_, padded = roundedUp(height, kRowUnit), most = depthPiece();
  int64_t deepest = 0;
  for (const Product& p : products_) deepest = std::max(deepest, std::min(most, p.depth));
  float* sums = local().floats(padded * ldc + rowFloats(height, deepest));
  float* memory = sums + padded * ldc;
  const bool whole = products_[0].depth > 0 && products_[0].start == 0 && products_[0].columns == columns_;
  if (!whole) std::memset(sums, 0, padded * ldc * sizeof(float));
  for (size_t q = 0; q < products_.size(); q++) {
    const Product& p = products_[q];
    // The panels of this block that the product reaches.
    const int64_t from = std::max(panel, p.start / width_), to = std::min(panel + count, divideUp(p.start + p.columns, width_));
    if (from >= to) continue;
    const int64_t piece = roundedUp(divideUp(p.depth, divideUp(p.depth, most)), kDepthUnit);
    for (int64_t k = 0; k < p.depth; k += piece) {
      const int64_t depth = std::min(piece, p.depth - k);
      const HalfRows a = halfRows(element(p.a, row, k), p.a.ld, p.a.transposed, height, depth, memory);
      for (int64_t j = from; j < to; j++)
        halfProduct(a, panelOf(q, j) + k * width_, width_, sums + (j - panel) * width_, ldc, height, depth, !(whole && q == 0 && k == 0));
    }
  }
  const int64_t column = panel * width_;
  finish(sums, ldc, row, height, column, std::min(ldc, columns_ - column));
}

void HalfMultiplication::finish(const float* sums, int64_t ldc, int64_t row, int64_t height, int64_t column, int64_t columns) const {
  const auto write = [&]<class T>(T) {
    const T *bias = static_cast<const T*>(result_.bias), *residual = static_cast<const T*>(result_.residual);
    T* out = static_cast<T*>(result_.data);
    for (int64_t i = 0; i < height; i++)
      level().rows<T>().finish(sums + i * ldc, bias ? bias + column : nullptr, residual ? residual + (row + i) * result_.residualLd + column : nullptr,
                               out + (row + i) * result_.ld + column, columns);
  };
  if (result_.half) write(bf16{});
  else write(float{});
}

int64_t packedElements(int64_t depth, int64_t columns, int64_t width) {
  return divideUp(columns, width) * panelElements(depth, width);
}

void packPanels(const Matrix& b, int64_t depth, int64_t columns, int64_t width, bf16* to) {
  const int64_t size = panelElements(depth, width);
  inParallel(divideUp(columns, width), [&](int64_t panel) {
    level().packPairs(element(b, 0, panel * width), b.ld, b.transposed, depth, std::min(width, columns - panel * width), roundedUp(depth, kDepthUnit), width, to + panel * size);
  });
}

void addOuter(const float* a, int64_t lda, const Matrix& b, int64_t depth, int64_t m, int64_t n, float* sum, float scale, bool transposed) {
  constexpr int64_t slice = 128;
  overRows(n, slice, [&](int64_t j, int64_t count) {
    const auto add = [&](float* to, int64_t ld) {
      if (b.half) level().b16.outer(a, lda, static_cast<const bf16*>(b.data) + j, b.ld, depth, to, ld, m, count);
      else level().f32.outer(a, lda, static_cast<const float*>(b.data) + j, b.ld, depth, to, ld, m, count);
    };
    if (!transposed) return add(sum + j, n);
    float* own = local().floats(m * slice);
    std::memset(own, 0, m * slice * sizeof(float));
    add(own, slice);
    for (int64_t k = 0; k < count; k++)
      for (int64_t i = 0; i < m; i++) sum[(j + k) * m + i] += scale * own[i * slice + k];
  });
}

}  // namespace fettle
