// Products of bf16 in the layout of the CPUs' own instructions for it: B in pairs of rows, [depth / 2][width][2]. One
// 32-bit element holds both numbers of a pair; each is a float as soon as the other is shifted or masked away.
typedef U LooseU __attribute__((aligned(4), may_alias));
constexpr int64_t kPairRows = FETTLE_PAIR_ROWS;

inline U loadPairs(const bf16* p) { return *reinterpret_cast<const LooseU*>(p); }
inline F evenOf(U pairs) { return __builtin_bit_cast(F, pairs << 16); }
inline F oddOf(U pairs) { return __builtin_bit_cast(F, pairs & 0xffff0000u); }

template <int64_t R> inline void pairTile(const float* a, int64_t rowStep, int64_t depthStep, const bf16* b, int64_t width, float* c, int64_t ldc, int64_t depth, bool add) {
  F sums[R][2];
#pragma GCC unroll 16
  for (int64_t i = 0; i < R; i++) sums[i][0] = sums[i][1] = F{};
  for (int64_t k = 0; k < depth; k += 2, b += 2 * width) {
    const U left = loadPairs(b), right = loadPairs(b + 2 * kWidth);
    const F left0 = evenOf(left), left1 = oddOf(left), right0 = evenOf(right), right1 = oddOf(right);
#pragma GCC unroll 16
    for (int64_t i = 0; i < R; i++) {
      const F x = splat<F>(a[i * rowStep + k * depthStep]), y = splat<F>(a[i * rowStep + (k + 1) * depthStep]);
      sums[i][0] += x * left0;
      sums[i][1] += x * right0;
      sums[i][0] += y * left1;
      sums[i][1] += y * right1;
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

template <int64_t R> inline void pairRemainder(int64_t rows, const float* a, int64_t rowStep, int64_t depthStep, const bf16* b, int64_t width, float* c, int64_t ldc, int64_t depth, bool add) {
  if (rows == R) return pairTile<R>(a, rowStep, depthStep, b, width, c, ldc, depth, add);
  if constexpr (R > 1) pairRemainder<R - 1>(rows, a, rowStep, depthStep, b, width, c, ldc, depth, add);
}

template <bool transposed> void multiplyPairBlock(const float* a, int64_t ld, const bf16* panel, int64_t width, float* c, int64_t ldc, int64_t m, int64_t depth, bool add) {
  const int64_t rowStep = transposed ? 1 : ld, depthStep = transposed ? ld : 1;
  for (int64_t j = 0; j < width; j += kColumns) {
    int64_t i = 0;
    for (; i + kPairRows <= m; i += kPairRows) pairTile<kPairRows>(a + i * rowStep, rowStep, depthStep, panel + 2 * j, width, c + i * ldc + j, ldc, depth, add);
    if (i < m) pairRemainder<kPairRows - 1>(m - i, a + i * rowStep, rowStep, depthStep, panel + 2 * j, width, c + i * ldc + j, ldc, depth, add);
  }
}

void multiplyPairs(const float* a, int64_t rowStep, int64_t depthStep, const bf16* panel, int64_t width, float* c, int64_t ldc, int64_t m, int64_t depth, bool add) {
  if (depthStep == 1) multiplyPairBlock<false>(a, rowStep, panel, width, c, ldc, m, depth, add);
  else multiplyPairBlock<true>(a, depthStep, panel, width, c, ldc, m, depth, add);
}

/// Both numbers of the pair (k, k + 1) of one column, which lie side by side in memory.
inline uint32_t pairAt(const bf16* p) {
  uint32_t both;
  std::memcpy(&both, p, sizeof both);
  return both;
}

void packPairsTransposed(const bf16* b, int64_t ld, int64_t depth, int64_t columns, int64_t width, uint32_t* panel) {
  int64_t j = 0;
  for (; j + 8 <= columns; j += 8) {
    int64_t k = 0;
    // 8 columns of 8 pairs: a transpose of 32-bit elements, whatever is in them.
    for (; k + 16 <= depth; k += 16) {
      F8 r[8];
      for (int i = 0; i < 8; i++) r[i] = load8(reinterpret_cast<const float*>(b + (j + i) * ld + k));
      transpose8(r);
      for (int i = 0; i < 8; i++) *reinterpret_cast<LooseF8*>(panel + (k / 2 + i) * width + j) = r[i];
    }
    for (; k + 2 <= depth; k += 2)
      for (int64_t i = 0; i < 8; i++) panel[k / 2 * width + j + i] = pairAt(b + (j + i) * ld + k);
    if (k < depth)
      for (int64_t i = 0; i < 8; i++) panel[k / 2 * width + j + i] = b[(j + i) * ld + k].bits;
  }
  for (; j < columns; j++)
    for (int64_t k = 0; k < depth; k += 2) panel[k / 2 * width + j] = k + 1 < depth ? pairAt(b + j * ld + k) : b[j * ld + k].bits;
}

void packPairs(const bf16* b, int64_t ld, bool transposed, int64_t depth, int64_t columns, int64_t evenDepth, int64_t width, bf16* to) {
  uint32_t* panel = reinterpret_cast<uint32_t*>(to);
  if (transposed) packPairsTransposed(b, ld, depth, columns, width, panel);
  else
    for (int64_t k = 0; k < depth; k += 2) {
      const bf16 *first = b + k * ld, *second = first + ld;
      uint32_t* row = panel + k / 2 * width;
      int64_t j = 0;
      if (k + 1 == depth)
        for (; j < columns; j++) row[j] = first[j].bits;
      for (; j + kWidth <= columns; j += kWidth)
        *reinterpret_cast<LooseU*>(row + j) = __builtin_convertvector(*reinterpret_cast<const LooseH*>(first + j), U) | (__builtin_convertvector(*reinterpret_cast<const LooseH*>(second + j), U) << 16);
      for (; j < columns; j++) row[j] = first[j].bits | static_cast<uint32_t>(second[j].bits) << 16;
    }
  if (columns < width)
    for (int64_t k = 0; k < depth; k += 2) std::memset(panel + k / 2 * width + columns, 0, (width - columns) * sizeof(uint32_t));
  const int64_t filled = (depth + 1) / 2;
  std::memset(panel + filled * width, 0, (evenDepth / 2 - filled) * width * sizeof(uint32_t));
}

typedef uint16_t H8 __attribute__((vector_size(16)));
typedef uint16_t LooseRow __attribute__((vector_size(16), aligned(2), may_alias));

/// 8 rows of 8 become columns.
inline void transposeHalves(const bf16* from, int64_t ld, bf16* to, int64_t ldTo) {
  H8 r[8], t[8];
  for (int i = 0; i < 8; i++) r[i] = *reinterpret_cast<const LooseRow*>(from + i * ld);
  for (int i = 0; i < 4; i++) {
    t[2 * i] = __builtin_shufflevector(r[i], r[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
    t[2 * i + 1] = __builtin_shufflevector(r[i], r[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
  }
  // t: element pairs (row i, row i + 4). Twice more the same interleaving brings eight rows together.
  for (int i = 0; i < 4; i++) {
    r[2 * i] = __builtin_shufflevector(t[i], t[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
    r[2 * i + 1] = __builtin_shufflevector(t[i], t[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
  }
  for (int i = 0; i < 4; i++) {
    t[2 * i] = __builtin_shufflevector(r[i], r[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
    t[2 * i + 1] = __builtin_shufflevector(r[i], r[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i++) *reinterpret_cast<LooseRow*>(to + i * ldTo) = t[i];
}

void transpose(const bf16* from, int64_t ld, int64_t rows, int64_t depth, bf16* to, int64_t ldTo) {
  int64_t k = 0;
  for (; k + 8 <= depth; k += 8) {
    int64_t i = 0;
    for (; i + 8 <= rows; i += 8) transposeHalves(from + k * ld + i, ld, to + i * ldTo + k, ldTo);
    for (; i < rows; i++)
      for (int64_t d = 0; d < 8; d++) to[i * ldTo + k + d] = from[(k + d) * ld + i];
  }
  for (; k < depth; k++)
    for (int64_t i = 0; i < rows; i++) to[i * ldTo + k] = from[k * ld + i];
}

template <int64_t R, class T> inline void outerTile(const float* a, int64_t lda, const T* b, int64_t ldb, int64_t depth, float* c, int64_t ldc) {
  F sums[R][2];
#pragma GCC unroll 16
  for (int64_t i = 0; i < R; i++) {
    sums[i][0] = load<F>(c + i * ldc);
    sums[i][1] = load<F>(c + i * ldc + kWidth);
  }
  for (int64_t k = 0; k < depth; k++, a += lda, b += ldb) {
    const F left = load<F>(b), right = load<F>(b + kWidth);
#pragma GCC unroll 16
    for (int64_t i = 0; i < R; i++) {
      const F x = splat<F>(a[i]);
      sums[i][0] += x * left;
      sums[i][1] += x * right;
    }
  }
#pragma GCC unroll 16
  for (int64_t i = 0; i < R; i++) {
    store(c + i * ldc, sums[i][0]);
    store(c + i * ldc + kWidth, sums[i][1]);
  }
}

template <int64_t R, class T> inline void outerRows(int64_t rows, const float* a, int64_t lda, const T* b, int64_t ldb, int64_t depth, float* c, int64_t ldc) {
  if (rows == R) return outerTile<R>(a, lda, b, ldb, depth, c, ldc);
  if constexpr (R > 1) outerRows<R - 1>(rows, a, lda, b, ldb, depth, c, ldc);
}

// Rows of A's transpose in groups of equal size; B in stretches that stay in the cache while all groups use them.
template <class T> void outer(const float* a, int64_t lda, const T* b, int64_t ldb, int64_t depth, float* c, int64_t ldc, int64_t m, int64_t n) {
  constexpr int64_t stretch = 128;
  const int64_t groups = (m + kRows - 1) / kRows, height = groups == 0 ? 0 : (m + groups - 1) / groups;
  for (int64_t k = 0; k < depth; k += stretch) {
    const int64_t deep = least(stretch, depth - k);
    const float* ak = a + k * lda;
    const T* bk = b + k * ldb;
    int64_t j = 0;
    for (; j + kColumns <= n; j += kColumns)
      for (int64_t i = 0; i < m; i += height) outerRows<kRows>(least(height, m - i), ak + i, lda, bk + j, ldb, deep, c + i * ldc + j, ldc);
    for (; j < n; j++)
      for (int64_t d = 0; d < deep; d++) {
        const float x = load<float>(bk + d * ldb + j);
        for (int64_t i = 0; i < m; i++) c[i * ldc + j] += ak[d * lda + i] * x;
      }
  }
}
