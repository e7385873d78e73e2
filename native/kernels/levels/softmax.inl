// Softmax of attention scores (fp32) and of logits (any element type), and their gradients.
template <class T> float largest(const T* s, int64_t n) {
  F wide = splat<F>(-INFINITY);
  float best = -INFINITY;
  int64_t j = 0;
  for (; j + kWidth <= n; j += kWidth) wide = larger(load<F>(s + j), wide);
  for (; j < n; j++) best = larger(load<float>(s + j), best);
  for (int64_t i = 0; i < kWidth; i++) best = larger(wide[i], best);
  return best;
}

inline void clear(float* s, int64_t from, int64_t to) {
  if (to > from) std::memset(s + from, 0, (to - from) * sizeof(float));
}

void penalize(float* s, int64_t n, float scale, float slope, float start) {
  F distance;
  for (int64_t i = 0; i < kWidth; i++) distance[i] = start + static_cast<float>(i);
  int64_t j = 0;
  for (; j + kWidth <= n; j += kWidth, distance += static_cast<float>(kWidth)) store(s + j, load<F>(s + j) * scale + distance * slope);
  for (; j < n; j++) s[j] = s[j] * scale + slope * (start + static_cast<float>(j));
}

float softmax(float* s, int64_t n, int64_t padded, float scale) {
  float best = largest(s, n) * scale;
  float z = total(n, [&]<class V>(int64_t j) {
    V e = exponential(load<V>(s + j) * scale - best);
    store(s + j, e);
    return e;
  });
  float r = 1 / z;
  each(n, [&]<class V>(int64_t j) { store(s + j, load<V>(s + j) * r); });
  clear(s, n, padded);
  return best + std::log(z);
}

void softmaxAgain(float* s, int64_t n, int64_t padded, float scale, float logSumExp) {
  each(n, [&]<class V>(int64_t j) { store(s + j, exponential(load<V>(s + j) * scale - logSumExp)); });
  clear(s, n, padded);
}

void softmaxBackward(const float* p, float* ds, int64_t n, int64_t padded, float scale, float delta) {
  each(n, [&]<class V>(int64_t j) { store(ds + j, load<V>(p + j) * (load<V>(ds + j) - delta) * scale); });
  clear(ds, n, padded);
}

template <class T> float logSumExp(const T* logits, int64_t n, int64_t* best) {
  float top = largest(logits, n);
  if (best) {
    *best = 0;
    while (*best + 1 < n && load<float>(logits + *best) != top) ++*best;
  }
  return top + std::log(total(n, [&]<class V>(int64_t j) { return exponential(load<V>(logits + j) - top); }));
}

template <class T> void softmaxGradient(T* logits, int64_t n, float logSumExp, int64_t label, float scale) {
  float at = load<float>(logits + label);
  each(n, [&]<class V>(int64_t j) { store(logits + j, exponential(load<V>(logits + j) - logSumExp) * scale); });
  store(logits + label, (std::exp(at - logSumExp) - 1) * scale);
}
