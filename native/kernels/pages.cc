// Memory for the buffers that the fused blocks plan: one tensor of bytes, on huge pages where the system has them.
#include "pages.h"

#include "scratch.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

namespace fettle {

at::Tensor pages(int64_t bytes) {
  TORCH_CHECK(bytes > 0, "expected a positive number of bytes, got ", bytes);
  void* memory = mapPages(static_cast<size_t>(bytes));
  return at::from_blob(memory, {bytes}, [bytes](void* p) { unmapPages(p, static_cast<size_t>(bytes)); }, at::TensorOptions(at::kByte));
}

namespace {

/// True when the elements of b start inside the memory that one of these spans. All are contiguous.
bool overlaps(const std::vector<at::Tensor>& buffers, const at::Tensor& b) {
  const char* at = static_cast<const char*>(b.data_ptr());
  return std::any_of(buffers.begin(), buffers.end(), [&](const at::Tensor& a) {
    const char* start = static_cast<const char*>(a.data_ptr());
    return at >= start && at < start + a.nbytes();
  });
}

/// The first rows of a buffer, with a version counter of their own.
at::Tensor rows(const at::Tensor& buffer, int64_t count) { return buffer.narrow(0, 0, count).variable_data(); }

TORCH_LIBRARY_FRAGMENT(fettle, m) {
  m.def("overlaps(Tensor[] buffers, Tensor b) -> bool", overlaps);
  m.def("rows(Tensor buffer, int count) -> Tensor", rows);
  m.def("pages(int bytes) -> Tensor", pages);
}

}  // namespace
}  // namespace fettle
