// Matrix products with everything around them: sums of several products into one result, bf16 or fp32 on either side,
// bias and residual added on the way out.
#pragma once
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
  /// fp32 only: element (i, j) is added to data[j·ld + i].
  bool addTransposed = false;
};

/// result [rows, columns] = Σ products (+ bias) (+ residual), in fp32 until the last rounding.
void multiplyInto(const Result& result, int64_t rows, int64_t columns, const std::vector<Product>& products);

}  // namespace fettle
