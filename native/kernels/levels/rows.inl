// Kernels over rows. A body is written once and runs on vectors, then on the floats that are left.
template <class T> void rmsForward(const T* x, const T* weight, float eps, T* out, float* rstd, int64_t rows, int64_t width) {
  for (int64_t i = 0; i < rows; i++, x += width, out += width) {
    float squares = total(width, [&]<class V>(int64_t j) { V v = load<V>(x + j); return v * v; });
    float r = 1 / std::sqrt(squares / width + eps);
    if (rstd) rstd[i] = r;
    each(width, [&]<class V>(int64_t j) { store(out + j, load<V>(x + j) * r * load<V>(weight + j)); });
  }
}

// With u = grad · weight and r = rstd: dx = r · u − x · r³ · mean(u · x); dWeight = Σ grad · x · r.
template <class T> void rmsBackward(const T* grad, const T* x, const T* weight, const float* rstd, const T* residual, T* out, float* dWeight, int64_t rows, int64_t width) {
  for (int64_t i = 0; i < rows; i++) {
    const T *g = grad + i * width, *v = x + i * width, *past = residual ? residual + i * width : nullptr;
    T* o = out + i * width;
    float r = rstd[i];
    float along = total(width, [&]<class V>(int64_t j) { return load<V>(g + j) * load<V>(weight + j) * load<V>(v + j); });
    float c = along / width * r * r * r;
    if (dWeight) each(width, [&]<class V>(int64_t j) { store(dWeight + j, load<V>(dWeight + j) + load<V>(g + j) * load<V>(v + j) * r); });
    if (past) each(width, [&]<class V>(int64_t j) { store(o + j, load<V>(past + j) + (load<V>(g + j) * load<V>(weight + j) * r - load<V>(v + j) * c)); });
    else each(width, [&]<class V>(int64_t j) { store(o + j, load<V>(g + j) * load<V>(weight + j) * r - load<V>(v + j) * c); });
  }
}

template <class T> void rotateHalf(T* x, const float* cos, const float* sin, int64_t half, float sign) {
  each(half, [&]<class V>(int64_t j) {
    V a = load<V>(x + j), b = load<V>(x + half + j), c = load<V>(cos + j), s = load<V>(sin + j) * sign;
    store(x + j, a * c - b * s);
    store(x + half + j, b * c + a * s);
  });
}

template <class T> void rotateInterleaved(T* x, const float* cos, const float* sin, int64_t half, float sign) {
  for (int64_t j = 0; j < half; j++) {
    float a = load<float>(x + 2 * j), b = load<float>(x + 2 * j + 1), s = sin[j] * sign;
    store(x + 2 * j, a * cos[j] - b * s);
    store(x + 2 * j + 1, b * cos[j] + a * s);
  }
}

template <class T> void rotary(T* x, int64_t stride, const float* cos, const float* sin, int64_t rows, int64_t heads, int64_t headDim, int64_t dim, bool interleaved, float sign) {
  const int64_t half = dim / 2;
  for (int64_t i = 0; i < rows; i++)
    for (int64_t h = 0; h < heads; h++) {
      T* head = x + i * stride + h * headDim;
      if (interleaved) rotateInterleaved(head, cos + i * half, sin + i * half, half, sign);
      else rotateHalf(head, cos + i * half, sin + i * half, half, sign);
    }
}

template <class T> void swigluForward(const T* in, T* out, int64_t rows, int64_t width) {
  for (int64_t i = 0; i < rows; i++, in += 2 * width, out += width)
    each(width, [&]<class V>(int64_t j) {
      V gate = load<V>(in + j);
      store(out + j, gate * sigmoid(gate) * load<V>(in + width + j));
    });
}

template <class T> void swigluBackward(const T* grad, const T* in, T* out, int64_t rows, int64_t width) {
  for (int64_t i = 0; i < rows; i++, in += 2 * width, out += 2 * width, grad += width)
    each(width, [&]<class V>(int64_t j) {
      V gate = load<V>(in + j), up = load<V>(in + width + j), g = load<V>(grad + j), s = sigmoid(gate), silu = gate * s;
      store(out + width + j, g * silu);
      store(out + j, g * up * (s + silu * (1.0f - s)));
    });
}

template <class T> void finish(const float* sum, const T* bias, const T* residual, T* out, int64_t n) {
  if (bias && residual) each(n, [&]<class V>(int64_t j) { store(out + j, load<V>(sum + j) + load<V>(bias + j) + load<V>(residual + j)); });
  else if (bias) each(n, [&]<class V>(int64_t j) { store(out + j, load<V>(sum + j) + load<V>(bias + j)); });
  else if (residual) each(n, [&]<class V>(int64_t j) { store(out + j, load<V>(sum + j) + load<V>(residual + j)); });
  else each(n, [&]<class V>(int64_t j) { store(out + j, load<V>(sum + j)); });
}

template <class T> void widen(const T* from, float* to, int64_t n, float scale) {
  each(n, [&]<class V>(int64_t j) { store(to + j, load<V>(from + j) * scale); });
}
template <class T> void narrow(const float* from, T* to, int64_t n) {
  each(n, [&]<class V>(int64_t j) { store(to + j, load<V>(from + j)); });
}
template <class T> void accumulate(const T* x, float* sum, int64_t n) {
  each(n, [&]<class V>(int64_t j) { store(sum + j, load<V>(sum + j) + load<V>(x + j)); });
}
void axpy(const float* x, float* sum, int64_t n, float scale) {
  each(n, [&]<class V>(int64_t j) { store(sum + j, load<V>(sum + j) + load<V>(x + j) * scale); });
}
float dot(const float* x, const float* y, int64_t n) {
  return total(n, [&]<class V>(int64_t j) { return load<V>(x + j) * load<V>(y + j); });
}
