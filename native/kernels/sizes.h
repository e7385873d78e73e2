// Counts in whole units.
#pragma once
#include <cstdint>

namespace fettle {

inline int64_t divideUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit; }
inline int64_t roundedUp(int64_t n, int64_t unit) { return divideUp(n, unit) * unit; }

}  // namespace fettle
