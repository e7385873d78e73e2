// Vectors of one level, on the compilers' portable vector extension. Functions take either a vector or a float, so that
// a loop's body serves its tail too.
typedef float F __attribute__((vector_size(FETTLE_WIDTH * 4)));
typedef float LooseF __attribute__((vector_size(FETTLE_WIDTH * 4), aligned(4), may_alias));
typedef int32_t I __attribute__((vector_size(FETTLE_WIDTH * 4)));
typedef uint32_t U __attribute__((vector_size(FETTLE_WIDTH * 4)));
typedef uint32_t LooseU __attribute__((vector_size(FETTLE_WIDTH * 4), aligned(2), may_alias));
typedef uint16_t H __attribute__((vector_size(FETTLE_WIDTH * 2)));
typedef uint16_t LooseH __attribute__((vector_size(FETTLE_WIDTH * 2), aligned(2), may_alias));
constexpr int64_t kWidth = FETTLE_WIDTH;

// Not the library's: what it makes of a template may be shared with other levels.
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

template <class V> struct Bits { using Unsigned = U; using Signed = I; };
template <> struct Bits<float> { using Unsigned = uint32_t; using Signed = int32_t; };

template <class V, class T> inline V load(const T* p);
template <> inline F load<F, float>(const float* p) { return *reinterpret_cast<const LooseF*>(p); }
template <> inline float load<float, float>(const float* p) { return *p; }
template <> inline F load<F, bf16>(const bf16* p) {
  return __builtin_bit_cast(F, __builtin_convertvector(*reinterpret_cast<const LooseH*>(p), U) << 16);
}
template <> inline float load<float, bf16>(const bf16* p) { return __builtin_bit_cast(float, static_cast<uint32_t>(p->bits) << 16); }

// To nearest, ties to even. A NaN that arithmetic makes keeps the lower half zero and so stays one.
template <class V> inline typename Bits<V>::Unsigned roundedBits(V x) {
  auto bits = __builtin_bit_cast(typename Bits<V>::Unsigned, x);
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
inline void store(float* p, F x) { *reinterpret_cast<LooseF*>(p) = x; }
inline void store(float* p, float x) { *p = x; }
inline void store(bf16* p, F x) { *reinterpret_cast<LooseH*>(p) = __builtin_convertvector(roundedBits(x), H); }
inline void store(bf16* p, float x) { p->bits = static_cast<uint16_t>(roundedBits(x)); }

template <class V> inline V splat(float x) {
  if constexpr (sizeof(V) == sizeof(float)) return x;
  else return x - V{};
}
template <class V> inline V larger(V a, V b) { return a > b ? a : b; }
template <class V> inline V smaller(V a, V b) { return a < b ? a : b; }

// 2^t by its integer part in the exponent and a polynomial of degree 6 (minimax on [−½, ½], relative error 2e-7).
template <class V> inline V exponential(V x) {
  x = larger(smaller(x, splat<V>(88.0f)), splat<V>(-87.0f));
  V t = x * 1.44269504f;
  V shifted = t + 12582912.0f;  // 1.5 · 2^23: the sum's lower bits are round(t)
  V f = t - (shifted - 12582912.0f);
  V p = splat<V>(1.5403530e-4f);
  p = p * f + 1.3333558e-3f;
  p = p * f + 9.6181291e-3f;
  p = p * f + 5.5504109e-2f;
  p = p * f + 2.4022651e-1f;
  p = p * f + 6.9314718e-1f;
  p = p * f + 1.0f;
  auto exponent = __builtin_bit_cast(typename Bits<V>::Signed, shifted) << 23;
  return __builtin_bit_cast(V, __builtin_bit_cast(typename Bits<V>::Signed, p) + exponent);
}
template <class V> inline V sigmoid(V x) { return 1.0f / (1.0f + exponential(-x)); }

inline float sum(F x) {
  float total = 0;
  for (int64_t i = 0; i < kWidth; i++) total += x[i];
  return total;
}

/// Calls body with vectors, then with floats for what is left: body.template operator()<V>(j).
template <class Body> inline void each(int64_t n, Body body) {
  int64_t j = 0;
  for (; j + kWidth <= n; j += kWidth) body.template operator()<F>(j);
  for (; j < n; j++) body.template operator()<float>(j);
}

/// Sum over j of body<V>(j).
template <class Body> inline float total(int64_t n, Body body) {
  F wide{};
  float rest = 0;
  int64_t j = 0;
  for (; j + kWidth <= n; j += kWidth) wide += body.template operator()<F>(j);
  for (; j < n; j++) rest += body.template operator()<float>(j);
  return sum(wide) + rest;
}
