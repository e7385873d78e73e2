// One level's table. Everything but the table has internal linkage: a function compiled for AVX-512 must never be
// chosen by the linker for a machine without it.
#include "level.h"

#include <cmath>
#include <cstring>

namespace fettle {
namespace {
#include "simd.inl"
#include "multiply.inl"
#include "pairs.inl"
#include "rows.inl"
#include "activation.inl"
#include "softmax.inl"
#include "few.inl"

template <class T> constexpr RowKernels<T> rowKernels() {
  return {normForward<T>, normBackward<T>, rotary<T>, activate<T>, activateBackward<T>, finish<T>, widen<T>, narrow<T>,
          accumulate<T>, logSumExp<T>, softmaxGradient<T>, dots<T>, mix<T>, outer<T>};
}
}  // namespace

#define FETTLE_QUOTE(x) #x
#define FETTLE_NAME(x) FETTLE_QUOTE(x)
#define FETTLE_JOIN(a, b) a##b
#define FETTLE_TABLE(level) FETTLE_JOIN(level, Level)
extern const Level FETTLE_TABLE(FETTLE_LEVEL) = {
    FETTLE_NAME(FETTLE_LEVEL), kColumns, rowKernels<float>(), rowKernels<bf16>(), multiply, pack, packPairs, multiplyPairs, transpose, arrange, axpy, dot, penalize, softmax, softmaxAgain, softmaxBackward};
}  // namespace fettle
