// Attention of one new token a row over its cache, for the operators that are made of it.
#pragma once
#include "check.h"
#include "heads.h"

#include <cmath>
#include <vector>

namespace fettle {

/// What is added to scores, [rows, heads or 1, 1, longest]: numbers, or which keys are seen.
struct Bias {
  const std::optional<at::Tensor>& tensor;
  bool present() const { return tensor && tensor->defined(); }
  bool seenOnly() const { return tensor->scalar_type() == at::kBool; }
  template <class E> const E* at(int64_t row, int64_t head) const { return data<E>(*tensor) + row * tensor->stride(0) + (tensor->size(1) == 1 ? 0 : head) * tensor->stride(1); }
  bool hides(int64_t row, int64_t column) const {
    if (seenOnly()) return !at<bool>(row, 0)[column];
    if (isHalf(*tensor)) return at<bf16>(row, 0)[column].bits == 0xff80;
    return at<float>(row, 0)[column] == -INFINITY;
  }
  /// The first key that is seen: what a window hides lies before it.
  int64_t first(int64_t row, int64_t length) const {
    int64_t column = 0;
    while (present() && column + 1 < length && hides(row, column)) column++;
    return column;
  }
};

/// Keys and values of past tokens, [rows, capacity, kvHeads, dim] each, and how many each row has with the new one.
struct Cache {
  const at::Tensor &keys, &values;
  const std::vector<int64_t>& lengths;
};

void checkCache(const Cache& cache, const Heads& shape, const Bias& bias, at::ScalarType type);

/// qkv [rows, width] → out [rows, heads · dim]; the rows' keys and values are appended.
template <class T> void attendOver(const T* qkv, const Cache& cache, const Heads& shape, const Bias& bias, T* out);

}  // namespace fettle
