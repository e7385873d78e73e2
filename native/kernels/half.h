// Products of bf16 in panels of pairs: B as [depth / 2][width][2], the layout of AVX-512 BF16 and AMX. Where the CPU has
// such instructions libtorch's brgemm (oneDNN's microkernels, made at run time for the CPU) multiplies; elsewhere a kernel
// of ours does in the same layout, in fp32. Sums are fp32 in both.
#pragma once
#include "levels/level.h"
#include "sizes.h"

namespace fettle {

/// Columns of a panel; of a result of few columns, such as an adapter's inner activations, half as many.
constexpr int64_t kPanel = 64, kNarrowPanel = 32;
/// Depth of a panel is padded with zeros to a multiple of this, rows of a block to a multiple of `kRowUnit`: one tile, and
/// few kernels to make.
constexpr int64_t kDepthUnit = 32, kRowUnit = 16;

inline int64_t panelWidth(int64_t columns) { return columns <= kNarrowPanel ? kNarrowPanel : kPanel; }
/// Elements of one panel.
inline int64_t panelElements(int64_t depth, int64_t width) { return roundedUp(depth, kDepthUnit) * width; }

/// Depth that is multiplied in one go.
int64_t depthPiece();

/// Rows of A as the microkernel reads them.
struct HalfRows {
  const void* data;
  int64_t ld;
};
/// Floats that `halfRows` may need.
inline int64_t rowFloats(int64_t rows, int64_t depth) { return roundedUp(rows, kRowUnit) * roundedUp(depth, kDepthUnit); }
/// A(i, k) = a[i·ld + k], or a[k·ld + i] when transposed; copied into `memory` where the microkernel cannot take it as it is.
HalfRows halfRows(const bf16* a, int64_t ld, bool transposed, int64_t rows, int64_t depth, float* memory);

/// c[rows, width] (+)= A · panel. c has room for `rows` rounded up to `kRowUnit`: what is written there is of no use.
void halfProduct(const HalfRows& a, const bf16* panel, int64_t width, float* c, int64_t ldc, int64_t rows, int64_t depth, bool add);

/// To be called by each task that multiplied, at its end: other code on this thread may use the CPU's tiles.
void halfDone();

}  // namespace fettle
