// Kernels over rows. A body is written once and runs on vectors, then on the floats that are left.
template <class T> void normForward(const T* x, const Norm<T>& norm, T* out, float* stats, int64_t rows, int64_t width) {
  const T* weight = norm.weight;
  for (int64_t i = 0; i < rows; i++, x += width, out += width) {
    const float mean = norm.centred ? total(width, [&]<class V>(int64_t j) { return load<V>(x + j); }) / width : 0;
    float squares = total(width, [&]<class V>(int64_t j) { V v = load<V>(x + j) - mean; return v * v; });
    float r = 1 / std::sqrt(squares / width + norm.eps);
    if (stats) stats[2 * i] = mean, stats[2 * i + 1] = r;
    if (norm.bias) each(width, [&]<class V>(int64_t j) { store(out + j, (load<V>(x + j) - mean) * r * (load<V>(weight + j) + norm.offset) + load<V>(norm.bias + j)); });
    else each(width, [&]<class V>(int64_t j) { store(out + j, (load<V>(x + j) - mean) * r * (load<V>(weight + j) + norm.offset)); });
  }
}

// With u = grad · (weight + offset), n = (x − mean) · r: dx = r · (u − [centred] mean(u) − n · mean(u · n)); dWeight = Σ grad · n; dBias = Σ grad.
template <class T> void normBackward(const T* grad, const T* x, const Norm<T>& norm, const float* stats, const T* residual, T* out, float* dWeight, float* dBias, int64_t rows, int64_t width) {
  const T* weight = norm.weight;
  for (int64_t i = 0; i < rows; i++) {
    const T *g = grad + i * width, *v = x + i * width, *past = residual ? residual + i * width : nullptr;
    T* o = out + i * width;
    const float mean = stats[2 * i], r = stats[2 * i + 1];
    const auto scaled = [&]<class V>(int64_t j) { return load<V>(g + j) * (load<V>(weight + j) + norm.offset); };
    const auto normed = [&]<class V>(int64_t j) { return (load<V>(v + j) - mean) * r; };
    const float along = total(width, [&]<class V>(int64_t j) { return scaled.template operator()<V>(j) * normed.template operator()<V>(j); }) / width;
    const float level = norm.centred ? total(width, [&]<class V>(int64_t j) { return scaled.template operator()<V>(j); }) / width : 0;
    if (dWeight) each(width, [&]<class V>(int64_t j) { store(dWeight + j, load<V>(dWeight + j) + load<V>(g + j) * normed.template operator()<V>(j)); });
    if (dBias) each(width, [&]<class V>(int64_t j) { store(dBias + j, load<V>(dBias + j) + load<V>(g + j)); });
    const auto gradient = [&]<class V>(int64_t j) { return (scaled.template operator()<V>(j) - level - normed.template operator()<V>(j) * along) * r; };
    if (past) each(width, [&]<class V>(int64_t j) { store(o + j, load<V>(past + j) + gradient.template operator()<V>(j)); });
    else each(width, [&]<class V>(int64_t j) { store(o + j, gradient.template operator()<V>(j)); });
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

template <class T> void rotary(T* x, int64_t stride, const float* cos, const float* sin, int64_t rows, const RotatedHeads& heads, float sign) {
  const int64_t part = heads.dim / heads.axes, half = part / 2;
  for (int64_t i = 0; i < rows; i++, x += stride, cos += heads.dim / 2, sin += heads.dim / 2)
    for (int64_t h = 0; h < heads.groups * heads.rotated; h++) {
      T* head = x + (h / heads.rotated * heads.total + h % heads.rotated) * heads.headDim;
      for (int64_t a = 0; a < heads.axes; a++) {
        if (heads.interleaved) rotateInterleaved(head + a * part, cos + a * half, sin + a * half, half, sign);
        else rotateHalf(head + a * part, cos + a * half, sin + a * half, half, sign);
      }
    }
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
