// The product that all others are made of: a tile of C held in registers, A broadcast, B in packed panels
// (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008).
constexpr int64_t kRows = FETTLE_ROWS;
constexpr int64_t kColumns = 2 * kWidth;

/// Asks for what is read soon, and is seldom in the nearest cache by itself.
inline void fetch(const float* from, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) __builtin_prefetch(from + i, 0, 2);
}

template <int64_t R> inline void tile(const float* a, int64_t rowStep, int64_t depthStep, const float* b, float* c, int64_t ldc, int64_t depth, bool add) {
  F sums[R][2];
#pragma GCC unroll 16
  for (int64_t i = 0; i < R; i++) {
    sums[i][0] = sums[i][1] = F{};
    __builtin_prefetch(c + i * ldc, 1);
  }
  for (int64_t k = 0; k < depth; k++, b += kColumns, a += depthStep) {
    F left = load<F>(b), right = load<F>(b + kWidth);
#pragma GCC unroll 16
    for (int64_t i = 0; i < R; i++) {
      F x = splat<F>(a[i * rowStep]);
      sums[i][0] += x * left;
      sums[i][1] += x * right;
    }
  }
#pragma GCC unroll 16
  for (int64_t i = 0; i < R; i++) {
    float* row = c + i * ldc;
    if (add) {
      sums[i][0] += load<F>(row);
      sums[i][1] += load<F>(row + kWidth);
    }
    store(row, sums[i][0]);
    store(row + kWidth, sums[i][1]);
  }
}

// The last rows of a block, fewer than a tile has.
template <int64_t R> inline void remainder(int64_t rows, const float* a, int64_t rowStep, int64_t depthStep, const float* b, float* c, int64_t ldc, int64_t depth, bool add) {
  if (rows == R) return tile<R>(a, rowStep, depthStep, b, c, ldc, depth, add);
  if constexpr (R > 1) remainder<R - 1>(rows, a, rowStep, depthStep, b, c, ldc, depth, add);
}

// Constant steps let the compiler address A with few registers.
template <bool transposed> void multiplyBlock(const float* a, int64_t ld, const float* b, int64_t panelStep, int64_t panels, float* c, int64_t ldc, int64_t m, int64_t depth, bool add) {
  const int64_t rowStep = transposed ? 1 : ld, depthStep = transposed ? ld : 1;
  for (int64_t p = 0; p < panels; p++) {
    const float* panel = b + p * panelStep;
    // The next panel is fetched piece by piece while this one is multiplied.
    const float* next = panel + panelStep;
    const int64_t piece = p + 1 < panels ? depth * kColumns / std::max<int64_t>(m / kRows, 1) : 0;
    int64_t i = 0;
    for (; i + kRows <= m; i += kRows, next += piece) {
      fetch(next, piece);
      tile<kRows>(a + i * rowStep, rowStep, depthStep, panel, c + i * ldc + p * kColumns, ldc, depth, add);
    }
    if (i < m) remainder<kRows - 1>(m - i, a + i * rowStep, rowStep, depthStep, panel, c + i * ldc + p * kColumns, ldc, depth, add);
  }
}

void multiply(const float* a, int64_t rowStep, int64_t depthStep, const float* b, int64_t panelStep, int64_t panels, float* c, int64_t ldc, int64_t m, int64_t depth, bool add) {
  if (depthStep == 1) multiplyBlock<false>(a, rowStep, b, panelStep, panels, c, ldc, m, depth, add);
  else multiplyBlock<true>(a, depthStep, b, panelStep, panels, c, ldc, m, depth, add);
}

typedef float F8 __attribute__((vector_size(32)));
typedef float LooseF8 __attribute__((vector_size(32), aligned(4), may_alias));
inline F8 load8(const float* p) { return *reinterpret_cast<const LooseF8*>(p); }

// Rows r[0..7] of eight floats become columns.
inline void transpose8(F8* r) {
  F8 t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  F8 u[8];
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; j++) {
      u[i + j] = __builtin_shufflevector(t[i + j], t[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      u[i + j + 2] = __builtin_shufflevector(t[i + j], t[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int j = 0; j < 4; j++) {
    r[j] = __builtin_shufflevector(u[j], u[j + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    r[j + 4] = __builtin_shufflevector(u[j], u[j + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

void packTransposed(const float* b, int64_t ld, int64_t depth, int64_t columns, float* panel) {
  int64_t j = 0;
  for (; j + 8 <= columns; j += 8) {
    int64_t k = 0;
    for (; k + 8 <= depth; k += 8) {
      F8 r[8];
      for (int i = 0; i < 8; i++) r[i] = load8(b + (j + i) * ld + k);
      transpose8(r);
      for (int i = 0; i < 8; i++) *reinterpret_cast<LooseF8*>(panel + (k + i) * kColumns + j) = r[i];
    }
    for (; k < depth; k++)
      for (int i = 0; i < 8; i++) panel[k * kColumns + j + i] = load<float>(b + (j + i) * ld + k);
  }
  for (; j < columns; j++)
    for (int64_t k = 0; k < depth; k++) panel[k * kColumns + j] = load<float>(b + j * ld + k);
  for (; j < kColumns; j++)
    for (int64_t k = 0; k < depth; k++) panel[k * kColumns + j] = 0;
}

void pack(const float* b, int64_t ld, bool transposed, int64_t depth, int64_t columns, float* panel) {
  if (transposed) return packTransposed(b, ld, depth, columns, panel);
  for (int64_t k = 0; k < depth; k++, b += ld, panel += kColumns) {
    if (columns == kColumns) {
      store(panel, load<F>(b));
      store(panel + kWidth, load<F>(b + kWidth));
      continue;
    }
    for (int64_t j = 0; j < kColumns; j++) panel[j] = j < columns ? load<float>(b + j) : 0;
  }
}
