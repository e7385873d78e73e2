// Attention over packed rows: what it is asked for, and how it is spread over threads.
#pragma once
#include "heads.h"

#include <cstdint>
#include <vector>

namespace fettle {

/// Which keys a query sees beside the heads: those up to itself, of them the last `window` alone where that is not 0, and in any
/// case the first `seen` of its sequence. `places` keys of a trained prefix stand before each sequence, at the positions
/// −places … −1.
struct AttentionShape : Heads {
  int64_t window = 0;
  /// ALiBi's slope of each head; may be null.
  const float* slopes = nullptr;
  int64_t places = 0;
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
