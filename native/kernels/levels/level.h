// What one instruction-set level offers. The same source (levels/*.inl) is compiled once per level; `level()` picks one
// at run time. These files know nothing of libtorch, so that no inline function of it is compiled for a newer CPU.
#pragma once
#include <cstdint>

namespace fettle {

/// bfloat16 as it lies in memory: the upper half of a float.
struct bf16 { uint16_t bits; };

/// RMS norm, or with `centred` layer norm.
template <class T> struct Norm {
  const T* weight;
  const T* bias;
  float eps;
  float offset;
  bool centred;
};

/// Heads lie in groups of `total`, of which the first `rotated` turn. The first `dim` of a head is `axes` stretches, each
/// turned by its own angles; pairs are a stretch's two halves, or neighbours where it is interleaved.
struct RotatedHeads {
  int64_t groups, rotated, total, headDim, dim, axes;
  bool interleaved;
};

enum class Activation { silu, gelu, geluTanh, relu };

/// Kernels over rows of elements of type T; all arithmetic is in fp32.
template <class T>
struct RowKernels {
  /// out = T((x − mean) · rstd · (weight + offset) + bias); stats[i] = (mean, rstd), the mean 0 without `centred`; bias may be null.
  void (*normForward)(const T* x, const Norm<T>& norm, T* out, float* stats, int64_t rows, int64_t width);
  /// out = residual + gradient of x; `residual` may be null or `out`. dWeight and dBias (may be null) are added to.
  void (*normBackward)(const T* grad, const T* x, const Norm<T>& norm, const float* stats, const T* residual, T* out, float* dWeight, float* dBias, int64_t rows, int64_t width);
  /// Rotates the heads that `heads` names; `sign` −1 rotates back. Row i uses cos[i·dim/2 …].
  void (*rotary)(T* x, int64_t stride, const float* cos, const float* sin, int64_t rows, const RotatedHeads& heads, float sign);
  /// out = f(in), or with in [rows, 2·width], gate then up, f(gate) · up.
  void (*activate)(const T* in, T* out, int64_t rows, int64_t width, Activation f, bool gated);
  /// Gradient of `in`; out may be `in`.
  void (*activateBackward)(const T* grad, const T* in, T* out, int64_t rows, int64_t width, Activation f, bool gated);
  /// out[j] = sum[j] + bias[j] + residual[j]; bias and residual may be null, residual may be `out`.
  void (*finish)(const float* sum, const T* bias, const T* residual, T* out, int64_t n);
  /// to[j] = scale · from[j]
  void (*widen)(const T* from, float* to, int64_t n, float scale);
  void (*narrow)(const float* from, T* to, int64_t n);
  /// sum[j] += x[j]
  void (*accumulate)(const T* x, float* sum, int64_t n);
  /// Logits of one row → its log-sum-exp; `best` gets the index of the first largest.
  float (*logSumExp)(const T* logits, int64_t n, int64_t* best);
  /// In place: (softmax − [j = label]) · scale.
  void (*softmaxGradient)(T* logits, int64_t n, float logSumExp, int64_t label, float scale);
  /// sums[i·ldSums + j] += Σ_k x[i·ldX + k] · w[j·ldW + k] for i < rows, j < columns: a matrix that is read once, where it lies, against a few rows, which `arrange` has put in order where T is bf16.
  void (*dots)(const T* w, int64_t ldW, int64_t columns, const float* x, int64_t ldX, int64_t rows, int64_t depth, float* sums, int64_t ldSums);
  /// sums[i·ldSums + j] += Σ_k x[i·ldX + k] · w[k·ldW + j]: the same for a matrix that lies the other way.
  void (*mix)(const T* w, int64_t ldW, int64_t columns, const float* x, int64_t ldX, int64_t rows, int64_t depth, float* sums, int64_t ldSums);
  /// c[m, n] += Aᵀ · B, A(k, i) = a[k·lda + i], B(k, j) = b[k·ldb + j], k < depth: m small, nothing is packed.
  void (*outer)(const float* a, int64_t lda, const T* b, int64_t ldb, int64_t depth, float* c, int64_t ldc, int64_t m, int64_t n);
};

struct Level {
  const char* name;
  /// Columns of a packed panel.
  int64_t nr;
  RowKernels<float> f32;
  RowKernels<bf16> b16;
  /// c[m, panels·nr] (+)= A · B. A(i, k) = a[i·rowStep + k·depthStep], one of the two steps being 1. B: packed panels, `panelStep` floats apart.
  void (*multiply)(const float* a, int64_t rowStep, int64_t depthStep, const float* b, int64_t panelStep, int64_t panels, float* c, int64_t ldc, int64_t m, int64_t depth, bool add);
  /// Packs B(k, j), k < depth, j < columns, into a panel [depth][nr], zero beyond `columns`. B(k, j) = b[k·ld + j], or b[j·ld + k] when transposed.
  void (*pack)(const float* b, int64_t ld, bool transposed, int64_t depth, int64_t columns, float* panel);
  /// Packs B(k, j) in pairs of rows, [evenDepth / 2][width][2], zero beyond `depth` and `columns`. B as in `pack`.
  void (*packPairs)(const bf16* b, int64_t ld, bool transposed, int64_t depth, int64_t columns, int64_t evenDepth, int64_t width, bf16* panel);
  /// c[m, width] (+)= A · B, A as in `multiply`, B one panel of pairs; depth is even, width a multiple of 32.
  void (*multiplyPairs)(const float* a, int64_t rowStep, int64_t depthStep, const bf16* panel, int64_t width, float* c, int64_t ldc, int64_t m, int64_t depth, bool add);
  /// to[i·ldTo + k] = from[k·ld + i] for i < rows, k < depth.
  void (*transpose)(const bf16* from, int64_t ld, int64_t rows, int64_t depth, bf16* to, int64_t ldTo);
  /// Puts a row in the order in which `dots` takes the weights of bf16.
  void (*arrange)(float* x, int64_t n);
  /// sum[j] += scale · x[j]
  void (*axpy)(const float* x, float* sum, int64_t n, float scale);
  float (*dot)(const float* x, const float* y, int64_t n);
  /// s[j] = scale · s[j] + slope · (start + j): ALiBi's penalty on the distance, `start` that of the first key.
  void (*penalize)(float* s, int64_t n, float scale, float slope, float start);
  /// s[0, n) → softmax(scale · s), zero in [n, padded); returns log-sum-exp of scale · s.
  float (*softmax)(float* s, int64_t n, int64_t padded, float scale);
  /// s[0, n) → exp(scale · s − logSumExp), zero in [n, padded).
  void (*softmaxAgain)(float* s, int64_t n, int64_t padded, float scale, float logSumExp);
  /// ds[j] = scale · p[j] · (ds[j] − delta) for j < n, zero in [n, padded).
  void (*softmaxBackward)(const float* p, float* ds, int64_t n, int64_t padded, float scale, float delta);

  template <class T> const RowKernels<T>& rows() const;
};
template <> inline const RowKernels<float>& Level::rows<float>() const { return f32; }
template <> inline const RowKernels<bf16>& Level::rows<bf16>() const { return b16; }

extern const Level baseLevel;
#if defined(__x86_64__)
extern const Level avx2Level;
extern const Level avx512Level;
#endif

}  // namespace fettle
