// SwiGLU and its kin (Shazeer, arXiv 2002.05202), x = [gate | up] -> act(gate) · up; or the function alone. Functions: SiLU,
// GELU (Hendrycks and Gimpel, arXiv 1606.08415), its tanh form, ReLU.
#include "common.cuh"

struct Value { float y, slope; };

/// The function's value and its slope. 0: SiLU, 1: GELU, 2: GELU by tanh, 3: ReLU.
__device__ inline Value activated(float x, int kind) {
  if (kind == 0) {
    const float s = 1 / (1 + expf(-x));
    return {x * s, s * (1 + x * (1 - s))};
  }
  if (kind == 1) {
    const float phi = 0.5f * (1 + erff(x * 0.70710678f));
    return {x * phi, phi + x * 0.39894228f * expf(-0.5f * x * x)};
  }
  if (kind == 2) {
    const float c = 0.79788456f, t = tanhf(c * (x + 0.044715f * x * x * x));
    return {0.5f * x * (1 + t), 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * c * (1 + 3 * 0.044715f * x * x)};
  }
  return {x > 0 ? x : 0.0f, x > 0 ? 1.0f : 0.0f};
}

/// x [rows, width] or, gated, [rows, 2 · width] -> out [rows, width]
template <class T, int N>
__global__ void activationForward(const T* x, T* out, long long rows, int width, int kind, int gated) {
  const long long packs = rows * width / N, stride = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const long long row = i * N / width, j = i * N % width;
    const T* from = x + row * width * (gated ? 2 : 1) + j;
    const Pack<T, N> a = read<N>(from);
    Pack<T, N> up = a, o;
    if (gated) up = read<N>(from + width);
    for (int k = 0; k < N; k++) o.v[k] = narrow<T>(activated(widen(a.v[k]), kind).y * (gated ? widen(up.v[k]) : 1.0f));
    write<N>(out + i * N, o);
  }
}

/// grad [rows, width] and x as above -> out like x
template <class T, int N>
__global__ void activationBackward(const T* grad, const T* x, T* out, long long rows, int width, int kind, int gated) {
  const long long packs = rows * width / N, stride = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < packs; i += stride) {
    const long long row = i * N / width, j = i * N % width, at = row * width * (gated ? 2 : 1) + j;
    const Pack<T, N> g = read<N>(grad + i * N), a = read<N>(x + at);
    Pack<T, N> up = a, dGate, dUp;
    if (gated) up = read<N>(x + at + width);
    for (int k = 0; k < N; k++) {
      const Value f = activated(widen(a.v[k]), kind);
      const float incoming = widen(g.v[k]);
      dGate.v[k] = narrow<T>(incoming * f.slope * (gated ? widen(up.v[k]) : 1.0f));
      dUp.v[k] = narrow<T>(incoming * f.y);
    }
    write<N>(out + at, dGate);
    if (gated) write<N>(out + at + width, dUp);
  }
}
