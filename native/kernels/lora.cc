#include "lora.h"

#include "check.h"
#include "dispatch.h"
#include "half.h"
#include "parallel.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace fettle {
namespace {

/// B of a product that is packed.
const Matrix kPacked{nullptr, true, 0};

Scratch& scratchOf(int use) {
  static Scratch scratch[4];
  return scratch[use];
}
bf16* halves(int use, int64_t count) { return reinterpret_cast<bf16*>(scratchOf(use).floats((count + 1) / 2)); }

bool together(const std::vector<int64_t>& ranks) { return std::accumulate(ranks.begin(), ranks.end(), int64_t(0)) <= kPanel; }

}  // namespace

void Adapter::check(int64_t in, int64_t out) const {
  if (!present()) return;
  checkMatrix(*a, "a", -1, in);
  TORCH_CHECK(b.size() == rowStarts.size() && b.size() == rankStarts.size() && b.size() == scales.size(), "expected as many row starts, rank starts and scales as B matrices, ", b.size());
  for (size_t p = 0; p < b.size(); p++) {
    checkMatrix(b[p], "b");
    checkSame(b[p], "b", *a);
    TORCH_CHECK(rowStarts[p] + b[p].size(0) <= out && rankStarts[p] + b[p].size(1) <= a->size(0), "part ", p, " of the adapter leaves the layer: ", b[p].sizes());
  }
}

std::vector<int64_t> Adapter::ranks() const {
  std::vector<int64_t> found;
  for (const at::Tensor& each : b) found.push_back(each.size(1));
  return found;
}

int64_t innerWidth(const std::vector<int64_t>& ranks, bool half) {
  const int64_t sum = std::accumulate(ranks.begin(), ranks.end(), int64_t(0));
  if (!half) return sum;
  if (together(ranks)) return panelWidth(sum);
  int64_t width = 0;
  for (int64_t rank : ranks) width += roundedUp(rank, kPanel);
  return width;
}

HalfAdapter::HalfAdapter(const Adapter& adapter, int64_t out) : adapter_(adapter), in_(adapter.a->size(1)), out_(out), width_(innerWidth(adapter.ranks(), true)) {
  const bool one = together(adapter.ranks());
  int64_t column = 0;
  for (size_t p = 0; p < adapter.b.size(); p++) {
    const int64_t rank = adapter.b[p].size(1), first = adapter.rowStarts[p], last = first + adapter.b[p].size(0);
    if (p == 0 || !one) slots_.push_back({column, one ? width_ : roundedUp(rank, kPanel), 0, {}, first, last, 0});
    Slot& slot = slots_.back();
    slot.parts.push_back(p);
    slot.ranks += rank;
    slot.first = std::min(slot.first, first);
    slot.last = std::max(slot.last, last);
    columns_.push_back(column);
    column += one ? rank : slot.width;
  }
  for (Slot& slot : slots_) {
    slot.first = slot.first / kPanel * kPanel;
    slot.dense = denseElements_;
    denseElements_ += (slot.last - slot.first) * slot.width;
  }
}

const bf16* HalfAdapter::dense(const Slot& slot) const { return halves(0, denseElements_) + slot.dense; }

/// Rows of W by the slot's columns: each part's scaled B where the two meet, zero elsewhere.
void HalfAdapter::denseB() {
  bf16* memory = halves(0, denseElements_);
  std::memset(memory, 0, denseElements_ * sizeof(bf16));
  for (const Slot& slot : slots_)
    for (size_t p : slot.parts) {
      const at::Tensor& b = adapter_.b[p];
      const int64_t rank = b.size(1), ld = b.stride(0);
      bf16* to = memory + slot.dense + (adapter_.rowStarts[p] - slot.first) * slot.width + columns_[p] - slot.column;
      overRows(b.size(0), 256, [&](int64_t first, int64_t count) {
        float wide[kPanel];
        for (int64_t i = first; i < first + count; i++)
          for (int64_t j = 0; j < rank; j += kPanel) {
            const int64_t some = std::min(kPanel, rank - j);
            level().b16.widen(data<bf16>(b) + i * ld + j, wide, some, static_cast<float>(adapter_.scales[p]));
            level().b16.narrow(wide, to + i * slot.width + j, some);
          }
      });
    }
}

Product HalfAdapter::inner(const Matrix& x) {
  const int64_t width = panelWidth(width_), size = panelElements(in_, width);
  bf16* packed = halves(1, width_ / width * size);
  const bf16* a = data<bf16>(*adapter_.a);
  const int64_t ld = adapter_.a->stride(0);
  inParallel(width_ / width, [&](int64_t panel) {
    // One slot has the ranks of all its parts side by side; of several each has one part's.
    const auto slot = std::find_if(slots_.rbegin(), slots_.rend(), [&](const Slot& s) { return s.column <= panel * width; });
    const int64_t skip = panel * width - slot->column, columns = std::min(width, slot->ranks - skip);
    level().packPairs(a + (adapter_.rankStarts[slot->parts[0]] + skip) * ld, ld, true, in_, columns, roundedUp(in_, kDepthUnit), width, packed + panel * size);
  });
  return {x, kPacked, in_, width_, 0, 1, packed};
}

void HalfAdapter::outer(const Matrix& u, std::vector<Product>& products) {
  denseB();
  int64_t elements = 0;
  const int64_t width = panelWidth(out_);
  for (const Slot& slot : slots_) elements += packedElements(slot.width, slot.last - slot.first, width);
  bf16* packed = halves(2, elements);
  for (const Slot& slot : slots_) {
    packPanels({dense(slot), true, slot.width, true}, slot.width, slot.last - slot.first, width, packed);
    products.push_back({{static_cast<const bf16*>(u.data) + slot.column, true, u.ld}, kPacked, slot.width, slot.last - slot.first, slot.first, 1, packed});
    packed += packedElements(slot.width, slot.last - slot.first, width);
  }
}

std::vector<Product> HalfAdapter::innerGradient(const Matrix& grad) {
  denseB();
  int64_t elements = 0;
  const int64_t width = panelWidth(width_);
  for (const Slot& slot : slots_) elements += slot.width / width * panelElements(slot.last - slot.first, width);
  bf16* packed = halves(2, elements);
  std::vector<Product> products;
  for (const Slot& slot : slots_) {
    const int64_t depth = slot.last - slot.first, size = panelElements(depth, width);
    for (int64_t j = 0; j < slot.width; j += width) level().packPairs(dense(slot) + j, slot.width, false, depth, width, roundedUp(depth, kDepthUnit), width, packed + j / width * size);
    products.push_back({{static_cast<const bf16*>(grad.data) + slot.first, true, grad.ld}, kPacked, depth, slot.width, slot.column, 1, packed});
    packed += slot.width / width * size;
  }
  return products;
}

Product HalfAdapter::outerGradient(const Matrix& du) {
  const int64_t width = panelWidth(in_), size = panelElements(width_, width), panels = divideUp(in_, width);
  bf16* packed = halves(3, panels * size);
  const bf16* a = data<bf16>(*adapter_.a);
  const int64_t ld = adapter_.a->stride(0);
  inParallel(panels, [&](int64_t panel) {
    const int64_t columns = std::min(width, in_ - panel * width);
    for (const Slot& slot : slots_) level().packPairs(a + adapter_.rankStarts[slot.parts[0]] * ld + panel * width, ld, false, slot.ranks, columns, slot.width, width, packed + panel * size + slot.column * width);
  });
  return {du, kPacked, width_, in_, 0, 1, packed};
}

}  // namespace fettle
