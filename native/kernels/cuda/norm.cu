// RMS norm (Zhang and Sennrich, arXiv 1910.07467) and layer norm (Ba et al., arXiv 1607.06450), of rows or of heads in a
// joined qkv. With h = (x - mean) · rstd (mean 0 for RMS norm) and w = weight + offset: out = h · w (+ bias).
// Backward, with u = grad · w: dx = rstd · (u - mean(u) - h · mean(u · h)), where RMS norm has no mean(u);
// dWeight = Σ grad · h; dBias = Σ grad. One block for each row; statistics in fp32.
#include "common.cuh"

__device__ inline long long startOf(const Rows& at, long long row) {
  const long long rest = row % at.perToken;
  return row / at.perToken * at.token + rest / at.perGroup * at.group + rest % at.perGroup * at.head;
}

template <class T, int N>
__global__ void normForward(const T* x, const T* weight, const T* bias, T* out, float* mean, float* rstd, Rows at, int width, float eps, float offset, int center) {
  const long long row = blockIdx.x, start = startOf(at, row);
  const int first = threadIdx.x * N, step = blockDim.x * N;
  float middle = 0;
  if (center) {
    float sum = 0;
    for (int j = first; j < width; j += step) {
      const Pack<T, N> p = read<N>(x + start + j);
      for (int k = 0; k < N; k++) sum += widen(p.v[k]);
    }
    middle = blockSum(sum) / width;
  }
  float squares = 0;
  for (int j = first; j < width; j += step) {
    const Pack<T, N> p = read<N>(x + start + j);
    for (int k = 0; k < N; k++) {
      const float d = widen(p.v[k]) - middle;
      squares += d * d;
    }
  }
  const float r = 1 / sqrtf(blockSum(squares) / width + eps);
  if (threadIdx.x == 0) {
    rstd[row] = r;
    if (mean) mean[row] = middle;
  }
  for (int j = first; j < width; j += step) {
    const Pack<T, N> p = read<N>(x + start + j), w = read<N>(weight + j);
    Pack<T, N> o;
    for (int k = 0; k < N; k++) o.v[k] = narrow<T>((widen(p.v[k]) - middle) * r * (widen(w.v[k]) + offset) + (bias ? widen(bias[j + k]) : 0.0f));
    write<N>(out + start + j, o);
  }
}

/// `out` may be `residual` or `grad` itself.
template <class T, int N>
__global__ void normBackward(const T* grad, const T* x, const T* weight, const float* mean, const float* rstd, const T* residual, T* out, Rows at, int width, float offset, int center) {
  const long long row = blockIdx.x, start = startOf(at, row);
  const int first = threadIdx.x * N, step = blockDim.x * N;
  const float middle = center ? mean[row] : 0.0f, r = rstd[row];
  float along = 0, sum = 0;
  for (int j = first; j < width; j += step) {
    const Pack<T, N> g = read<N>(grad + start + j), p = read<N>(x + start + j), w = read<N>(weight + j);
    for (int k = 0; k < N; k++) {
      const float u = widen(g.v[k]) * (widen(w.v[k]) + offset);
      along += u * (widen(p.v[k]) - middle) * r;
      sum += u;
    }
  }
  along = blockSum(along) / width;
  sum = center ? blockSum(sum) / width : 0.0f;
  for (int j = first; j < width; j += step) {
    const Pack<T, N> g = read<N>(grad + start + j), p = read<N>(x + start + j), w = read<N>(weight + j);
    Pack<T, N> o;
    if (residual) o = read<N>(residual + start + j);
    for (int k = 0; k < N; k++) {
      const float d = r * (widen(g.v[k]) * (widen(w.v[k]) + offset) - sum - (widen(p.v[k]) - middle) * r * along);
      o.v[k] = narrow<T>(residual ? widen(o.v[k]) + d : d);
    }
    write<N>(out + start + j, o);
  }
}

/// Adds to the gradients of weight and bias. Blocks of 32 columns times some rows, each over all rows in one order, so that
/// the sums are the same in every run.
template <class T>
__global__ void normWeights(const T* grad, const T* x, const float* mean, const float* rstd, float* weightGrad, float* biasGrad, Rows at, long long rows, int width, int center) {
  __shared__ float weights[16][32], biases[16][32];
  const int column = blockIdx.x * 32 + threadIdx.x;
  float dw = 0, db = 0;
  if (column < width)
    for (long long row = threadIdx.y; row < rows; row += blockDim.y) {
      const long long i = startOf(at, row) + column;
      const float g = widen(grad[i]);
      dw += g * (widen(x[i]) - (center ? mean[row] : 0.0f)) * rstd[row];
      db += g;
    }
  weights[threadIdx.y][threadIdx.x] = dw;
  biases[threadIdx.y][threadIdx.x] = db;
  __syncthreads();
  if (threadIdx.y != 0 || column >= width) return;
  for (unsigned y = 1; y < blockDim.y; y++) {
    dw += weights[y][threadIdx.x];
    db += biases[y][threadIdx.x];
  }
  if (weightGrad) weightGrad[column] += dw;
  if (biasGrad) biasGrad[column] += db;
}
