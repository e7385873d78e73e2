// What one instruction-set level offers. The same source (levels/*.inl) is compiled once per level; `level()` picks one
// at run time. These files know nothing of libtorch, so that no inline function of it is compiled for a newer CPU.
#pragma once
#include <cstdint>

namespace fettle {

/// bfloat16 as it lies in memory: the upper half of a float.
struct bf16 { uint16_t bits; };

/// Kernels over rows of elements of type T; all arithmetic is in fp32.
template <class T>
struct RowKernels {
  /// out = T(x · rstd · weight), rstd[i] = 1/√(mean(x_i²) + eps).
  void (*rmsForward)(const T* x, const T* weight, float eps, T* out, float* rstd, int64_t rows, int64_t width);
  /// out = residual + gradient of x; `residual` may be null or `out`. dWeight (may be null) is added to.
  void (*rmsBackward)(const T* grad, const T* x, const T* weight, const float* rstd, const T* residual, T* out, float* dWeight, int64_t rows, int64_t width);
  /// Rotates the first `dim` of each of `heads` heads; `sign` −1 rotates back. Row i uses cos[i·dim/2 …].
  void (*rotary)(T* x, int64_t stride, const float* cos, const float* sin, int64_t rows, int64_t heads, int64_t headDim, int64_t dim, bool interleaved, float sign);
  /// in [rows, 2·width]: gate, then up. out = silu(gate) · up.
  void (*swigluForward)(const T* in, T* out, int64_t rows, int64_t width);
  /// out [rows, 2·width] may be `in`.
  void (*swigluBackward)(const T* grad, const T* in, T* out, int64_t rows, int64_t width);
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
  /// Packs B(k, j), k < depth, j < columns, into a panel [depth][nr], zero beyond `columns`. B(k, j) = b[k·ld + j], or b[j·ld + k] when transposed.
  void (*pack)(const T* b, int64_t ld, bool transposed, int64_t depth, int64_t columns, float* panel);
};

struct Level {
  const char* name;
  /// Columns of a packed panel.
  int64_t nr;
  RowKernels<float> f32;
  RowKernels<bf16> b16;
  /// c[m, panels·nr] (+)= A · B. A(i, k) = a[i·rowStep + k·depthStep], one of the two steps being 1. B: packed panels, `panelStep` floats apart.
  void (*multiply)(const float* a, int64_t rowStep, int64_t depthStep, const float* b, int64_t panelStep, int64_t panels, float* c, int64_t ldc, int64_t m, int64_t depth, bool add);
  /// Puts a row in the order in which `dots` takes the weights of bf16.
  void (*arrange)(float* x, int64_t n);
  /// sum[j] += scale · x[j]
  void (*axpy)(const float* x, float* sum, int64_t n, float scale);
  float (*dot)(const float* x, const float* y, int64_t n);
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
