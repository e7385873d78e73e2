// A LoRA adapter (Hu et al., arXiv 2106.09685) on a joined linear layer, such as q, k and v in one matrix: for part p,
// y[:, rows of p] += scale_p · (x A_pᵀ) B_pᵀ. The A matrices are rows of one matrix.
#pragma once
#include "multiply.h"
#include "scratch.h"

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

namespace fettle {

struct Adapter {
  const std::optional<at::Tensor>& a;
  const std::vector<at::Tensor>& b;
  const std::vector<int64_t>& rowStarts;
  const std::vector<int64_t>& rankStarts;
  const std::vector<double>& scales;

  bool present() const { return a && a->defined(); }
  void check(int64_t in, int64_t out) const;
  std::vector<int64_t> ranks() const;
};

/// Columns of an adapter's inner activations. In fp32 they are its ranks side by side; in bf16 whole panels (half.h): one
/// for all parts where they fit, else some of each part's own, so that a part's product skips the others' columns.
int64_t innerWidth(const std::vector<int64_t>& ranks, bool half);

/// The adapter's matrices in panels of bf16, packed anew for each call: they change with every step, and are small.
/// A part's scale is in its B.
class HalfAdapter {
 public:
  HalfAdapter(const Adapter& adapter, int64_t out);

  /// Of u [N, inner] = x · A.
  Product inner(const Matrix& x);
  /// Of y += u · B.
  void outer(const Matrix& u, std::vector<Product>& products);
  /// Of du [N, inner] = dy · B.
  std::vector<Product> innerGradient(const Matrix& grad);
  /// Of dx += du · A.
  Product outerGradient(const Matrix& du);

  /// Column of u where a part begins.
  int64_t columnOf(size_t part) const { return columns_[part]; }
  int64_t width() const { return width_; }

 private:
  struct Slot {
    int64_t column, width;
    /// Of its parts, together.
    int64_t ranks;
    std::vector<size_t> parts;
    /// Rows of W that its parts cover, from a multiple of a panel on.
    int64_t first, last;
    /// Where its dense B [last − first, width] lies.
    int64_t dense;
  };
  void denseB();
  const bf16* dense(const Slot& slot) const;

  const Adapter& adapter_;
  const int64_t in_, out_, width_;
  std::vector<int64_t> columns_;
  std::vector<Slot> slots_;
  int64_t denseElements_ = 0;
};

}  // namespace fettle
