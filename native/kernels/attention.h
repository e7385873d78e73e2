// Attention over packed rows: what it is asked for, and how it is spread over threads.
#pragma once
#include "levels/level.h"

#include <cstdint>
#include <vector>

namespace fettle {

/// Heads in a joined qkv, and which keys a query sees: those up to itself, of them the last `window` alone where that is
/// not 0, and in any case the first `seen` of its sequence. `places` keys of a trained prefix stand before each sequence,
/// at the positions −places … −1.
struct AttentionShape {
  int64_t heads, kvHeads, dim;
  float scale;
  /// For each key-value head its queries, its key, its value; else all queries, all keys, all values.
  bool grouped;
  int64_t window = 0;
  /// ALiBi's slope of each head; may be null.
  const float* slopes = nullptr;
  int64_t places = 0;

  int64_t group() const { return heads / kvHeads; }
  int64_t width() const { return (heads + 2 * kvHeads) * dim; }
  int64_t queryColumn(int64_t kv) const { return (grouped ? kv * (group() + 2) : kv * group()) * dim; }
  int64_t keyColumn(int64_t kv) const { return (grouped ? kv * (group() + 2) + group() : heads + kv) * dim; }
  int64_t valueColumn(int64_t kv) const { return grouped ? keyColumn(kv) + dim : (heads + kvHeads + kv) * dim; }
};

/// Keys and values of a prefix: element (place, key or value, head, d).
template <class T> struct Past {
  const T* data;
  int64_t placeStride, kindStride;
};

/// One key-value head of one sequence, and which of its query blocks (every `parts`-th from `part`) a task takes.
struct AttentionTask {
  int64_t start, length, seen, kv, part, parts;
  /// Backward: where this task sums its key and value gradients.
  int64_t partial = 0;
};

/// Rows of a block of queries, all heads of the group counted: fewer where they see many keys.
int64_t attentionBlockRows(const AttentionShape& shape, int64_t keys);

/// Longest first: threads take tasks in turn, and the short ones fill the gaps.
std::vector<AttentionTask> attentionTasks(const std::vector<int64_t>& offsets, const std::vector<int64_t>& seen, const AttentionShape& shape, bool backward);

}  // namespace fettle
