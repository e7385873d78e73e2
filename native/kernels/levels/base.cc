// flags: -O3 -Wno-psabi
// Any CPU of the architecture: SSE2 on x86-64, NEON on aarch64.
#define FETTLE_LEVEL base
#define FETTLE_WIDTH 4
#define FETTLE_ROWS 6
#define FETTLE_PAIR_ROWS 2
#include "kernels.inl"
