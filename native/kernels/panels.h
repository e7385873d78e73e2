// The arithmetic of attention on panels, in one shape for both element types: panels of floats in fp32; panels of pairs
// (half.h) in bf16, whose left-hand sides are fp32 as well unless brgemm multiplies.
#pragma once
#include "dispatch.h"
#include "half.h"

#include <cstring>

namespace fettle {

/// Left-hand side: element (i, k) at data[i·rowStep + k·depthStep], one of the two steps being 1.
struct Left {
  const void* data;
  int64_t rowStep, depthStep;
};

template <class T> class Panels;

template <> class Panels<float> {
 public:
  static int64_t width(int64_t) { return level().nr; }
  static int64_t depth(int64_t depth) { return depth; }
  static void pack(const float* b, int64_t ld, bool transposed, int64_t depth, int64_t columns, int64_t, float* panel) { level().pack(b, ld, transposed, depth, columns, panel); }
  /// c[m, panels · width] (+)= A · B
  static void multiply(const Left& a, const float* b, int64_t panelStep, int64_t panels, int64_t, float* c, int64_t ldc, int64_t m, int64_t depth, bool add) {
    level().multiply(static_cast<const float*>(a.data), a.rowStep, a.depthStep, b, panelStep, panels, c, ldc, m, depth, add);
  }
  /// Rows of numbers that were read.
  static Left rows(const float* rows, int64_t ld, int64_t, int64_t, float*) { return {rows, ld, 1}; }
  /// Rows that were computed, or with `transposed` their columns.
  static Left computed(const float* rows, int64_t ld, int64_t, int64_t, bool transposed, float*) { return transposed ? Left{rows, 1, ld} : Left{rows, ld, 1}; }
  static void done() {}
};

template <> class Panels<bf16> {
 public:
  static int64_t width(int64_t columns) { return panelWidth(columns); }
  static int64_t depth(int64_t depth) { return roundedUp(depth, kDepthUnit); }
  static void pack(const bf16* b, int64_t ld, bool transposed, int64_t depth, int64_t columns, int64_t width, bf16* panel) {
    level().packPairs(b, ld, transposed, depth, columns, roundedUp(depth, kDepthUnit), width, panel);
  }
  static void multiply(const Left& a, const bf16* b, int64_t panelStep, int64_t panels, int64_t width, float* c, int64_t ldc, int64_t m, int64_t depth, bool add) {
    for (int64_t j = 0; j < panels; j++) {
      if (halfInHardware()) halfProduct({a.data, a.rowStep}, b + j * panelStep, width, c + j * width, ldc, m, depth, add);
      else level().multiplyPairs(static_cast<const float*>(a.data), a.rowStep, a.depthStep, b + j * panelStep, width, c + j * width, ldc, m, roundedUp(depth, 2), add);
    }
  }
  /// `memory`: floats for the rows rounded up to `kRowUnit` by the depth rounded up to `kDepthUnit`.
  static Left rows(const bf16* rows, int64_t ld, int64_t m, int64_t depth, float* memory) {
    const HalfRows made = halfRows(rows, ld, false, m, depth, memory);
    return {made.data, made.ld, 1};
  }
  /// Rows lie `m` by `depth` (or, transposed, `depth` by `m`), zero beyond.
  static Left computed(const float* rows, int64_t ld, int64_t m, int64_t depth, bool transposed, float* memory) {
    if (!halfInHardware()) return transposed ? Left{rows, 1, ld} : Left{rows, ld, 1};
    const int64_t lines = transposed ? depth : m, length = transposed ? m : depth, wide = roundedUp(length, kDepthUnit);
    bf16* rounded = reinterpret_cast<bf16*>(memory);
    for (int64_t i = 0; i < lines; i++) {
      level().b16.narrow(rows + i * ld, rounded + i * wide, length);
      std::memset(rounded + i * wide + length, 0, (wide - length) * sizeof(bf16));
    }
    if (!transposed) {
      std::memset(rounded + lines * wide, 0, (roundedUp(lines, kRowUnit) - lines) * wide * sizeof(bf16));
      return {rounded, wide, 1};
    }
    const HalfRows made = halfRows(rounded, wide, true, m, depth, reinterpret_cast<float*>(rounded + roundedUp(lines * wide, 32)));
    return {made.data, made.ld, 1};
  }
  static void done() { halfDone(); }
};

}  // namespace fettle
