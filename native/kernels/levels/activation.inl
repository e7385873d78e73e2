// Activations, alone or gating another number (Shazeer, arXiv 2002.05202), and their derivatives.

// erf by a rational approximation (Abramowitz and Stegun 7.1.26, absolute error 1.5e-7).
template <class V> inline V errorFunction(V x) {
  const V size = larger(x, -x), t = 1.0f / (1.0f + size * 0.3275911f);
  V p = splat<V>(1.061405429f);
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const V e = 1.0f - p * t * exponential(-size * size);
  return x < 0.0f ? -e : e;
}

struct Silu {
  template <class V> static V value(V x) { return x * sigmoid(x); }
  template <class V> static V slope(V x) {
    const V s = sigmoid(x);
    return s + x * s * (1.0f - s);
  }
};

// Hendrycks and Gimpel, arXiv 1606.08415: x · Φ(x).
struct Gelu {
  template <class V> static V normal(V x) { return (errorFunction(x * 0.70710678f) + 1.0f) * 0.5f; }
  template <class V> static V value(V x) { return x * normal(x); }
  template <class V> static V slope(V x) { return normal(x) + x * exponential(x * x * -0.5f) * 0.39894228f; }
};

// Its approximation by a hyperbolic tangent: x · sigmoid(2 · √(2/π) · (x + 0.044715 x³)).
struct GeluTanh {
  template <class V> static V value(V x) { return x * sigmoid((x + x * x * x * 0.044715f) * 1.59576912f); }
  template <class V> static V slope(V x) {
    const V s = sigmoid((x + x * x * x * 0.044715f) * 1.59576912f);
    return s + x * s * (1.0f - s) * (x * x * 0.134145f + 1.0f) * 1.59576912f;
  }
};

struct Relu {
  template <class V> static V value(V x) { return larger(x, splat<V>(0)); }
  template <class V> static V slope(V x) { return x > 0.0f ? splat<V>(1) : splat<V>(0); }
};

template <class F, class T> void activateRows(const T* in, T* out, int64_t rows, int64_t width, bool gated) {
  if (!gated) return each(rows * width, [&]<class V>(int64_t j) { store(out + j, F::value(load<V>(in + j))); });
  for (int64_t i = 0; i < rows; i++, in += 2 * width, out += width) each(width, [&]<class V>(int64_t j) { store(out + j, F::value(load<V>(in + j)) * load<V>(in + width + j)); });
}

template <class F, class T> void activateRowsBackward(const T* grad, const T* in, T* out, int64_t rows, int64_t width, bool gated) {
  if (!gated) return each(rows * width, [&]<class V>(int64_t j) { store(out + j, load<V>(grad + j) * F::slope(load<V>(in + j))); });
  for (int64_t i = 0; i < rows; i++, in += 2 * width, out += 2 * width, grad += width)
    each(width, [&]<class V>(int64_t j) {
      const V gate = load<V>(in + j), up = load<V>(in + width + j), g = load<V>(grad + j);
      store(out + width + j, g * F::value(gate));
      store(out + j, g * up * F::slope(gate));
    });
}

template <class T> void activate(const T* in, T* out, int64_t rows, int64_t width, Activation f, bool gated) {
  switch (f) {
    case Activation::silu: return activateRows<Silu>(in, out, rows, width, gated);
    case Activation::gelu: return activateRows<Gelu>(in, out, rows, width, gated);
    case Activation::geluTanh: return activateRows<GeluTanh>(in, out, rows, width, gated);
    case Activation::relu: return activateRows<Relu>(in, out, rows, width, gated);
  }
}

template <class T> void activateBackward(const T* grad, const T* in, T* out, int64_t rows, int64_t width, Activation f, bool gated) {
  switch (f) {
    case Activation::silu: return activateRowsBackward<Silu>(grad, in, out, rows, width, gated);
    case Activation::gelu: return activateRowsBackward<Gelu>(grad, in, out, rows, width, gated);
    case Activation::geluTanh: return activateRowsBackward<GeluTanh>(grad, in, out, rows, width, gated);
    case Activation::relu: return activateRowsBackward<Relu>(grad, in, out, rows, width, gated);
  }
}
