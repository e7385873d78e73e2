// Which kernels run on this CPU.
#pragma once
#include "levels/level.h"

namespace fettle {

/// The best level that the CPU has, or the one chosen with fettle::use_kernels.
const Level& level();
/// True when products of bf16 run on libtorch's brgemm, on the CPU's own instructions for them (AVX-512 BF16 or AMX);
/// elsewhere they run on `level()` in fp32, several times faster than the emulation that ATen falls back to.
bool halfInHardware();
/// brgemm's part is played by a kernel of ours, on CPUs that have no such instructions: for tests.
bool halfEmulated();

}  // namespace fettle
