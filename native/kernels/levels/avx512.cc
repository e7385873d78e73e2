// flags: -O3 -Wno-psabi
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,bmi2,f16c"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,bmi2,f16c,prefer-vector-width=512")
#endif
#define FETTLE_LEVEL avx512
#define FETTLE_WIDTH 16
#define FETTLE_ROWS 12
#define FETTLE_PAIR_ROWS 12
#include "kernels.inl"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
