// A few rows against a matrix that is read once, where it lies: decoding token by token, where packing would cost more
// than the product. Sums of a tile stay in registers: enough of them to hide the latency of their additions.
constexpr int64_t kSums = FETTLE_ROWS >= 12 ? 24 : 12;
// Rows of a tile: eight take the weights twice, the second time from the cache.
constexpr int64_t kTileRows = 4;
template <int64_t R> constexpr int64_t kTile = kSums / R < 1 ? 1 : least(8, kSums / R);

// Sum of a vector's numbers, halved until one is left.
template <int64_t N> struct Lanes { typedef float V __attribute__((vector_size(N * 4))); };
template <> struct Lanes<1> { typedef float V; };
template <int64_t N> inline float across(typename Lanes<N>::V x) {
  if constexpr (N == 1) {
    return x;
  } else {
    struct Halves { typename Lanes<N / 2>::V low, high; };
    auto halves = __builtin_bit_cast(Halves, x);
    return across<N / 2>(halves.low + halves.high);
  }
}

// Two vectors of weights. Two of bf16 come from one load: numbers in even places are its words shifted up, those in odd
// places its words without their lower half, so that no element is moved. `arrange` orders the other side alike.
inline F evenOf(const float* p) { return load<F>(p); }
inline F oddOf(const float* p) { return load<F>(p + kWidth); }
inline F evenOf(const bf16* p) { return evenOf(loadPairs(p)); }
inline F oddOf(const bf16* p) { return oddOf(loadPairs(p)); }

// Even places of each stretch of two vectors, then its odd ones; what is left at the end stays as it is.
void arrange(float* x, int64_t n) {
  for (int64_t k = 0; k + 2 * kWidth <= n; k += 2 * kWidth) {
    float odd[kWidth];
    for (int64_t j = 0; j < kWidth; j++) odd[j] = x[k + 2 * j + 1];
    for (int64_t j = 0; j < kWidth; j++) x[k + j] = x[k + 2 * j];
    for (int64_t j = 0; j < kWidth; j++) x[k + kWidth + j] = odd[j];
  }
}

template <int64_t R, int64_t C, class T> inline void dotTile(const T* w, int64_t ldW, const float* x, int64_t ldX, int64_t depth, float* sums, int64_t ldSums) {
  F wide[R][C];
#pragma GCC unroll 8
  for (int64_t i = 0; i < R; i++)
#pragma GCC unroll 8
    for (int64_t j = 0; j < C; j++) wide[i][j] = F{};
  // x is read once for all columns of a half, so that sums and weights fill the registers and nothing else does.
  auto half = [&](const float* values, const F* weights) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < R; i++) {
      F v = load<F>(values + i * ldX);
#pragma GCC unroll 8
      for (int64_t j = 0; j < C; j++) wide[i][j] += v * weights[j];
    }
  };
  int64_t k = 0;
  for (; k + 2 * kWidth <= depth; k += 2 * kWidth) {
    F first[C], second[C];
#pragma GCC unroll 8
    for (int64_t j = 0; j < C; j++) {
      // The next tile's, which lie behind these: rows are too short for the CPU to foresee them.
      __builtin_prefetch(w + (C + j) * ldW + k);
      first[j] = evenOf(w + j * ldW + k);
    }
    half(x + k, first);
#pragma GCC unroll 8
    for (int64_t j = 0; j < C; j++) second[j] = oddOf(w + j * ldW + k);
    half(x + k + kWidth, second);
  }
  for (int64_t i = 0; i < R; i++)
    for (int64_t j = 0; j < C; j++) {
      float rest = 0;
      for (int64_t t = k; t < depth; t++) rest += load<float>(w + j * ldW + t) * x[i * ldX + t];
      sums[i * ldSums + j] += across<kWidth>(wide[i][j]) + rest;
    }
}

template <int64_t R, int64_t C, class T> inline void dotRows(const T* w, int64_t ldW, const float* x, int64_t ldX, int64_t rows, int64_t depth, float* sums, int64_t ldSums) {
  if (rows == R) return dotTile<R, C>(w, ldW, x, ldX, depth, sums, ldSums);
  if constexpr (R > 1) dotRows<R - 1, C>(w, ldW, x, ldX, rows, depth, sums, ldSums);
}

template <int64_t C, class T> inline void dotColumns(const T* w, int64_t ldW, int64_t columns, const float* x, int64_t ldX, int64_t rows, int64_t depth, float* sums, int64_t ldSums) {
  int64_t j = 0;
  for (; j + C <= columns; j += C)
    for (int64_t i = 0; i < rows; i += kTileRows) dotRows<kTileRows, C>(w + j * ldW, ldW, x + i * ldX, ldX, least(kTileRows, rows - i), depth, sums + i * ldSums + j, ldSums);
  if constexpr (C > 1) if (j < columns) dotColumns<1>(w + j * ldW, ldW, columns - j, x, ldX, rows, depth, sums + j, ldSums);
}

template <class T> void dots(const T* w, int64_t ldW, int64_t columns, const float* x, int64_t ldX, int64_t rows, int64_t depth, float* sums, int64_t ldSums) {
  if (rows == 1) return dotColumns<8>(w, ldW, columns, x, ldX, rows, depth, sums, ldSums);
  if (rows == 2) return dotColumns<4>(w, ldW, columns, x, ldX, rows, depth, sums, ldSums);
  dotColumns<kTile<kTileRows>>(w, ldW, columns, x, ldX, rows, depth, sums, ldSums);
}

template <class V, int64_t R, class T> inline void mixTile(const T* w, int64_t ldW, const float* x, int64_t ldX, int64_t depth, float* sums, int64_t ldSums) {
  V acc[R];
#pragma GCC unroll 8
  for (int64_t i = 0; i < R; i++) acc[i] = load<V>(sums + i * ldSums);
  for (int64_t k = 0; k < depth; k++) {
    V values = load<V>(w + k * ldW);
#pragma GCC unroll 8
    for (int64_t i = 0; i < R; i++) acc[i] += splat<V>(x[i * ldX + k]) * values;
  }
#pragma GCC unroll 8
  for (int64_t i = 0; i < R; i++) store(sums + i * ldSums, acc[i]);
}

template <int64_t R, class T> inline void mixRows(const T* w, int64_t ldW, int64_t columns, const float* x, int64_t ldX, int64_t rows, int64_t depth, float* sums, int64_t ldSums) {
  if (rows == R) return each(columns, [&]<class V>(int64_t j) { mixTile<V, R>(w + j, ldW, x, ldX, depth, sums + j, ldSums); });
  if constexpr (R > 1) mixRows<R - 1>(w, ldW, columns, x, ldX, rows, depth, sums, ldSums);
}

template <class T> void mix(const T* w, int64_t ldW, int64_t columns, const float* x, int64_t ldX, int64_t rows, int64_t depth, float* sums, int64_t ldSums) {
  for (int64_t i = 0; i < rows; i += 8) mixRows<8>(w, ldW, columns, x + i * ldX, ldX, least(8, rows - i), depth, sums + i * ldSums, ldSums);
}
