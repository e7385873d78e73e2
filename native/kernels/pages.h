// Memory of its own for a tensor, on huge pages where the system has them.
#pragma once
#include <ATen/core/Tensor.h>

namespace fettle {

/// Bytes, zero at first; they go back to the system with the tensor.
at::Tensor pages(int64_t bytes);

}  // namespace fettle
