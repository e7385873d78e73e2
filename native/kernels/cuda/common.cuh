// What every kernel uses. NVRTC compiles it for a GPU without any header of CUDA's; the C++ compiler compiles the same text
// for the tests, where simulate/shim.h gives the words of CUDA a meaning on the CPU.
#pragma once
#ifdef FETTLE_SIMULATE
#include "simulate/shim.h"
#endif
#include "rows.h"

struct bf16 { unsigned short bits; };
struct f16 { unsigned short bits; };

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
__device__ inline float widen(f16 x) {
#ifdef FETTLE_SIMULATE
  return simulate::fromHalf(x.bits);
#else
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
#endif
}

template <class T> __device__ T narrow(float x);
template <> __device__ inline float narrow<float>(float x) { return x; }
/// Round to nearest, ties to even; NaN stays NaN.
template <> __device__ inline bf16 narrow<bf16>(float x) {
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fc0};
  return {static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
template <> __device__ inline f16 narrow<f16>(float x) {
#ifdef FETTLE_SIMULATE
  return {simulate::toHalf(x)};
#else
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return {bits};
#endif
}

/// N numbers that are read or written at once; with N > 1 the address is a multiple of their size.
template <class T, int N> struct alignas(sizeof(T) * N) Pack { T v[N]; };
template <int N, class T> __device__ inline Pack<T, N> read(const T* from) { return *reinterpret_cast<const Pack<T, N>*>(from); }
template <int N, class T> __device__ inline void write(T* to, const Pack<T, N>& pack) { *reinterpret_cast<Pack<T, N>*>(to) = pack; }

struct Sum { __device__ float operator()(float a, float b) const { return a + b; } };
struct Larger { __device__ float operator()(float a, float b) const { return a > b ? a : b; } };

template <class Op> __device__ inline float acrossWarp(float x, Op op) {
  for (int lane = 16; lane > 0; lane /= 2) x = op(x, __shfl_xor_sync(0xffffffffu, x, lane));
  return x;
}

/// The same result in all threads of a block of whole warps; `none` is what the operation leaves as it is.
template <class Op> __device__ inline float acrossBlock(float x, float none, Op op) {
  __shared__ float parts[32];
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  x = acrossWarp(x, op);
  __syncthreads();
  if (lane == 0) parts[warp] = x;
  __syncthreads();
  return acrossWarp(lane < blockDim.x / 32 ? parts[lane] : none, op);
}
__device__ inline float blockSum(float x) { return acrossBlock(x, 0.0f, Sum()); }
