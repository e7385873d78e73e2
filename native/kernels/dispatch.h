// Which kernels run on this CPU.
#pragma once
#include "levels/level.h"

namespace fettle {

/// The best level that the CPU has, or the one chosen with fettle::use_kernels.
const Level& level();
/// True when the CPU multiplies bfloat16 in hardware (AVX-512 BF16 or AMX): large bf16 products then go to oneDNN
/// through ATen; elsewhere they run on `level()` in fp32, several times faster than the emulation that ATen falls back to.
bool halfInHardware();

}  // namespace fettle
