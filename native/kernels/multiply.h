// Matrix products with everything around them: sums of several products into one result, bf16 or fp32 on either side,
// bias and residual added on the way out.
#pragma once
#include "levels/level.h"

#include <cstdint>
#include <vector>

namespace fettle {

/// Element (i, j) is data[i·ld + j], or data[j·ld + i] when transposed.
struct Matrix {
  const void* data;
  bool half;
  int64_t ld;
  bool transposed = false;
};

/// scale · A [rows, depth] · B [depth, columns], added to the result's columns from `start` on.
struct Product {
  Matrix a, b;
  int64_t depth;
  int64_t columns;
  int64_t start = 0;
  float scale = 1;
  /// bf16 alone: B in panels (half.h), one after the other, packed before; B's own memory is not read then.
  const bf16* packed = nullptr;
};

/// So few rows are multiplied without packing the other side: weights are read once, where they lie.
constexpr int64_t kFewRows = 8;

struct Result {
  void* data;
  bool half;
  int64_t ld;
  /// Row vector to add, of the result's element type; may be null.
  const void* bias = nullptr;
  /// Matrix to add, of the result's element type; may be null or `data` itself.
  const void* residual = nullptr;
  int64_t residualLd = 0;
};

/// result [rows, columns] = Σ products (+ bias) (+ residual), in fp32 until the last rounding. Operands are all fp32 or
/// all bf16; those of bf16 have no scale, and start at a multiple of `kPanel`.
void multiplyInto(const Result& result, int64_t rows, int64_t columns, const std::vector<Product>& products);

/// Elements of B [depth, columns] in panels of `width`.
int64_t packedElements(int64_t depth, int64_t columns, int64_t width);
/// Packs B into panels, over threads.
void packPanels(const Matrix& b, int64_t depth, int64_t columns, int64_t width, bf16* to);

/// sum [m, n] in fp32 += Aᵀ · B over `depth` rows; A [depth, m] is fp32, m small. `transposed`: sum is [n, m] and scaled.
void addOuter(const float* a, int64_t lda, const Matrix& b, int64_t depth, int64_t m, int64_t n, float* sum, float scale = 1, bool transposed = false);

}  // namespace fettle
