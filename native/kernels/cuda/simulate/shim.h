// CUDA's words on a CPU: a kernel runs block after block, the threads of a block as fibers that take turns and meet at
// barriers. It shows that the arithmetic and the meeting of threads are right, and says nothing of speed.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
// Blocks run one after the other, so that one copy for all fibers is what a block shares.
#define __shared__ static

namespace simulate {

struct Index { unsigned x = 0, y = 0, z = 0; };
enum class Wait { none, warp, block };

/// The thread that runs now, and the sizes of the launch.
extern Index thread, block, blockSize, gridSize;
void wait(Wait kind);
float exchange(float value, unsigned mask);

inline float fromHalf(unsigned short bits) {
  _Float16 half;
  std::memcpy(&half, &bits, 2);
  return static_cast<float>(half);
}
inline unsigned short toHalf(float x) {
  const _Float16 half = static_cast<_Float16>(x);
  unsigned short bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}
template <class To, class From> To same(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To y;
  std::memcpy(&y, &x, sizeof y);
  return y;
}

}  // namespace simulate

#define threadIdx simulate::thread
#define blockIdx simulate::block
#define blockDim simulate::blockSize
#define gridDim simulate::gridSize

inline float __uint_as_float(unsigned x) { return simulate::same<float>(x); }
inline float __int_as_float(int x) { return simulate::same<float>(x); }
inline unsigned __float_as_uint(float x) { return simulate::same<unsigned>(x); }
inline void __syncthreads() { simulate::wait(simulate::Wait::block); }
inline float __shfl_xor_sync(unsigned, float x, int lane) { return simulate::exchange(x, static_cast<unsigned>(lane)); }
inline int atomicMin(int* at, int x) {
  const int before = *at;
  if (x < before) *at = x;
  return before;
}
