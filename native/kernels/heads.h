// How heads lie in a row of a joined qkv.
#pragma once
#include <cstdint>

namespace fettle {

/// Heads, and the scale of their products.
struct Heads {
  int64_t heads, kvHeads, dim;
  /// For each key-value head its queries, its key, its value; else all queries, all keys, all values.
  bool grouped;
  float scale;

  int64_t group() const { return heads / kvHeads; }
  int64_t width() const { return (heads + 2 * kvHeads) * dim; }
  /// Columns of a key-value head's queries, its key and its value.
  int64_t queries(int64_t kv) const { return kv * (grouped ? group() + 2 : group()) * dim; }
  int64_t key(int64_t kv) const { return grouped ? queries(kv) + group() * dim : (heads + kv) * dim; }
  int64_t value(int64_t kv) const { return grouped ? key(kv) + dim : (heads + kvHeads + kv) * dim; }
};

}  // namespace fettle
