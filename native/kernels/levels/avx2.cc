// flags: -O3 -Wno-psabi
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi2,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,bmi2,f16c")
#endif
#define FETTLE_LEVEL avx2
#define FETTLE_WIDTH 8
#define FETTLE_ROWS 6
#define FETTLE_PAIR_ROWS 4
#include "kernels.inl"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
