// Sums of products of bf16 (half.h) into one result: what `multiplyInto` does where all operands are bf16.
#pragma once
#include "multiply.h"

#include <cstddef>

namespace fettle {

/// One call. Columns are taken in chunks whose packed B, where it was not packed before, fits the cache; a chunk in blocks
/// that threads take in turn, those of the same columns one after the other.
class HalfMultiplication {
 public:
  HalfMultiplication(const Result& result, int64_t rows, int64_t columns, const std::vector<Product>& products);
  void run();

 private:
  void chunk(int64_t first, int64_t panels);
  void block(int64_t row, int64_t height, int64_t panel, int64_t count) const;
  const bf16* panelOf(std::size_t product, int64_t panel) const;
  void finish(const float* sums, int64_t ldc, int64_t row, int64_t height, int64_t column, int64_t columns) const;

  const Result& result_;
  const int64_t rows_, columns_;
  const std::vector<Product>& products_;
  const int64_t width_, panels_;
  /// Of each product that packs here: elements before its panels, and panels in the chunk.
  std::vector<int64_t> before_;
  int64_t depths_ = 0, first_ = 0, chunk_ = 0;
  bf16* scratch_ = nullptr;
};

}  // namespace fettle
