// Cross-entropy of rows of logits, with its gradient in the logits' own memory. One block for each row.
#include "common.cuh"

/// losses[row] = -log p(label), hits[row] = 1 where the largest logit, the first of equals, is the label. With `gradient` the
/// logits become scale · (softmax - one-hot). A negative label is a row that counts for nothing: its gradient is zero.
/// `scale` lies on the device, so that a recorded launch serves steps whose scale differs.
template <class T, int N>
__global__ void headLoss(T* logits, const long long* labels, float* losses, float* hits, const float* scale, long long vocabulary, int gradient) {
  __shared__ int leader;
  const long long row = blockIdx.x, label = labels[row], step = static_cast<long long>(blockDim.x) * N;
  T* at = logits + row * vocabulary;
  float top = -__int_as_float(0x7f800000), sum = 0;
  int best = 0;
  for (long long j = static_cast<long long>(threadIdx.x) * N; j < vocabulary; j += step) {
    const Pack<T, N> p = read<N>(at + j);
    for (int k = 0; k < N; k++) {
      const float x = widen(p.v[k]);
      if (x > top) {
        sum = sum * expf(top - x) + 1;
        top = x;
        best = static_cast<int>(j + k);
      } else {
        sum += expf(x - top);
      }
    }
  }
  const float largest = acrossBlock(top, -__int_as_float(0x7f800000), Larger());
  sum = blockSum(top == largest ? sum : sum * expf(top - largest));
  if (threadIdx.x == 0) leader = 0x7fffffff;
  __syncthreads();
  if (top == largest) atomicMin(&leader, best);
  __syncthreads();
  const float logSum = largest + logf(sum);
  if (threadIdx.x == 0) {
    losses[row] = label < 0 ? 0.0f : logSum - widen(at[label]);
    hits[row] = label >= 0 && leader == label ? 1.0f : 0.0f;
  }
  if (!gradient) return;
  __syncthreads();
  const float factor = label < 0 ? 0.0f : *scale;
  for (long long j = static_cast<long long>(threadIdx.x) * N; j < vocabulary; j += step) {
    Pack<T, N> p = read<N>(at + j);
    for (int k = 0; k < N; k++) p.v[k] = narrow<T>(label < 0 ? 0.0f : factor * (expf(widen(p.v[k]) - logSum) - (j + k == label ? 1.0f : 0.0f)));
    write<N>(at + j, p);
  }
}
