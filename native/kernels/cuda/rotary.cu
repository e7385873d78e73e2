// Rotary positions (Su et al., arXiv 2104.09864) on the queries and keys of a joined qkv, in place. One block for each token.
#include "common.cuh"

/// A token's row is `groups` times `queries` query heads, `keys` key heads and as many value heads. The first `dim` numbers
/// of a head turn, in `axes` equal stretches; pairs are the two halves of a stretch, or neighbours where `interleaved`.
/// `cos` and `sin` are fp32 [tokens, dim / 2]. `queryScale`, fp32 [tokens] or null, multiplies queries after they turned.
/// sign -1 turns back.
template <class T>
__global__ void rotary(T* x, const float* cos, const float* sin, const float* queryScale, long long stride, int groups, int queries, int keys, int headDim, int dim, int axes, int interleaved, float sign) {
  const long long token = blockIdx.x;
  const int turned = dim / 2, half = turned / axes, heads = queries + keys, group = (queries + 2 * keys) * headDim;
  T* row = x + token * stride;
  for (int i = threadIdx.x; i < groups * heads * turned; i += blockDim.x) {
    const int pair = i % turned, head = i / turned % heads, axis = pair / half, k = pair % half;
    T* at = row + i / (turned * heads) * group + head * headDim + axis * 2 * half;
    T *first = at + (interleaved ? 2 * k : k), *second = at + (interleaved ? 2 * k + 1 : half + k);
    const float c = cos[token * turned + pair], s = sin[token * turned + pair] * sign;
    const float scale = queryScale && head < queries ? queryScale[token] : 1.0f;
    const float a = widen(*first), b = widen(*second);
    *first = narrow<T>((a * c - b * s) * scale);
    *second = narrow<T>((b * c + a * s) * scale);
  }
  const int rest = headDim - dim;
  if (!queryScale || rest == 0) return;
  for (int i = threadIdx.x; i < groups * queries * rest; i += blockDim.x) {
    T* at = row + i / (rest * queries) * group + i / rest % queries * headDim + dim + i % rest;
    *at = narrow<T>(widen(*at) * queryScale[token]);
  }
}
