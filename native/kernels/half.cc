#include "half.h"

#include "dispatch.h"

#include <ATen/native/CPUBlas.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace fettle {
namespace {

/// A's rows as fp32, for our own kernel.
void widenRows(const bf16* a, int64_t ld, int64_t rows, int64_t depth, float* to, int64_t wide) {
  const auto& kernels = level().b16;
  for (int64_t i = 0; i < rows; i++) {
    kernels.widen(a + i * ld, to + i * wide, depth, 1);
    std::memset(to + i * wide + depth, 0, (wide - depth) * sizeof(float));
  }
}

void copyRows(const bf16* a, int64_t ld, int64_t rows, int64_t depth, bf16* to, int64_t wide) {
  for (int64_t i = 0; i < rows; i++) {
    std::memcpy(to + i * wide, a + i * ld, depth * sizeof(bf16));
    std::memset(to + i * wide + depth, 0, (wide - depth) * sizeof(bf16));
  }
}

/// [rows, wide] of the transposed, zero beyond `depth` and from `rows` to `padded`.
void transposeRows(const bf16* a, int64_t ld, int64_t rows, int64_t depth, bf16* to, int64_t wide, int64_t padded) {
  level().transpose(a, ld, rows, depth, to, wide);
  for (int64_t i = 0; i < rows; i++) std::memset(to + i * wide + depth, 0, (wide - depth) * sizeof(bf16));
  std::memset(to + rows * wide, 0, (padded - rows) * wide * sizeof(bf16));
}

/// Touches what brgemm would touch, row by row.
void emulate(const HalfRows& a, const bf16* panel, int64_t width, float* c, int64_t ldc, int64_t rows, int64_t depth, bool add) {
  static thread_local std::vector<float> wide;
  wide.resize(depth);
  for (int64_t i = 0; i < rows; i++) {
    level().b16.widen(static_cast<const bf16*>(a.data) + i * a.ld, wide.data(), depth, 1);
    level().multiplyPairs(wide.data(), depth, 1, panel, width, c + i * ldc, ldc, 1, depth, add);
  }
}

}  // namespace

// Ours reads a piece of A and a quarter of a panel again and again: both stay in the first-level cache.
int64_t depthPiece() { return halfInHardware() ? 2048 : 192; }

HalfRows halfRows(const bf16* a, int64_t ld, bool transposed, int64_t rows, int64_t depth, float* memory) {
  const int64_t wide = roundedUp(depth, kDepthUnit), padded = roundedUp(rows, kRowUnit);
  if (!halfInHardware()) {
    if (!transposed) return widenRows(a, ld, rows, depth, memory, wide), HalfRows{memory, wide};
    // Transposed behind its own place, then widened from the front: row i is read before a later one is written over it.
    bf16* halves = reinterpret_cast<bf16*>(memory + padded * wide) - padded * wide;
    transposeRows(a, ld, rows, depth, halves, wide, padded);
    widenRows(halves, wide, rows, wide, memory, wide);
    return {memory, wide};
  }
  if (!transposed && depth == wide && rows == padded) return {a, ld};
  bf16* copy = reinterpret_cast<bf16*>(memory);
  if (transposed) return transposeRows(a, ld, rows, depth, copy, wide, padded), HalfRows{copy, wide};
  copyRows(a, ld, rows, depth, copy, wide);
  std::memset(copy + rows * wide, 0, (padded - rows) * wide * sizeof(bf16));
  return {copy, wide};
}

void halfProduct(const HalfRows& a, const bf16* panel, int64_t width, float* c, int64_t ldc, int64_t rows, int64_t depth, bool add) {
  if (!halfInHardware()) return level().multiplyPairs(static_cast<const float*>(a.data), a.ld, 1, panel, width, c, ldc, rows, roundedUp(depth, 2), add);
  if (halfEmulated()) return emulate(a, panel, width, c, ldc, roundedUp(rows, kRowUnit), roundedUp(depth, kDepthUnit), add);
  at::native::cpublas::brgemm(roundedUp(rows, kRowUnit), width, roundedUp(depth, kDepthUnit), a.ld, width, ldc, add, static_cast<const at::BFloat16*>(a.data),
                              reinterpret_cast<const at::BFloat16*>(panel), c, true);
}

void halfDone() {
  if (halfInHardware() && !halfEmulated()) at::native::cpublas::brgemm_release(true);
}

}  // namespace fettle
