// The next token of each row from its logits: the likeliest, or one drawn from those that temperature, top-k and top-p
// (Holtzman et al., arXiv 1904.09751) leave. Only tokens that can be drawn are sorted, not the vocabulary.
#include "check.h"
#include "dispatch.h"
#include "parallel.h"
#include "scratch.h"

#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace fettle {
namespace {

constexpr int64_t kStretch = 512;

struct Choice { float temperature; int64_t topK; float topP; };
struct Candidate { float value; int64_t id; };

class Row {
 public:
  Row(const float* logits, int64_t vocabulary, const Choice& choice) : n_(vocabulary), choice_(choice) {
    values_ = local().floats(n_);
    level().f32.widen(logits, values_, n_, 1 / choice.temperature);
    sum_ = sumOf();
  }

  /// The token at `draw`, in [0, 1), of the mass of those that stay, likeliest first.
  int64_t drawn(float draw) const {
    // The tail of the vocabulary has hardly any mass: it is looked at only where the draw may reach it.
    for (float below : {8.0f, 16.0f, INFINITY}) {
      std::vector<Candidate> heap = candidates(values_[best_] - below);
      if (below == INFINITY || enough(heap, draw)) return among(heap, draw);
    }
    return best_;
  }

 private:
  static Scratch& local() {
    static thread_local Scratch scratch;
    return scratch;
  }

  /// Log-sum-exp, joined in fp64 from short stretches: that of the whole in fp32 is off by as much as a rare token's share.
  double sumOf() {
    std::vector<float> parts;
    float top = -INFINITY;
    for (int64_t i = 0; i < n_; i += kStretch) {
      int64_t best;
      parts.push_back(level().f32.logSumExp(values_ + i, std::min(kStretch, n_ - i), &best));
      if (values_[i + best] > top) top = values_[best_ = i + best];
    }
    double total = 0;
    for (float part : parts) total += std::exp(static_cast<double>(part) - top);
    return top + std::log(total);
  }

  std::vector<Candidate> candidates(float least) const {
    std::vector<Candidate> found;
    for (int64_t i = 0; i < n_; i++)
      if (values_[i] >= least) found.push_back({values_[i], i});
    return found;
  }

  bool cut() const { return choice_.topK > 0 && choice_.topK < n_; }
  double probability(const Candidate& c) const { return std::exp(static_cast<double>(c.value) - sum_); }

  /// No other token than these can be drawn.
  bool enough(const std::vector<Candidate>& c, float draw) const {
    if (cut()) return c.size() >= static_cast<size_t>(choice_.topK);
    double mass = 0;
    for (const Candidate& each : c) mass += probability(each);
    return choice_.topP < 1 ? mass >= choice_.topP : mass > draw;
  }

  int64_t among(std::vector<Candidate>& heap, float draw) const {
    // Ties go to the lower id.
    const auto behind = [](const Candidate& a, const Candidate& b) { return a.value < b.value || (a.value == b.value && a.id > b.id); };
    std::make_heap(heap.begin(), heap.end(), behind);
    const size_t kept = cut() ? std::min<size_t>(heap.size(), choice_.topK) : heap.size();
    const bool whole = !cut() && choice_.topP >= 1;
    std::vector<Candidate> sorted;
    double mass = 0;
    // Of the whole vocabulary as far as the draw reaches; else as far as the nucleus does, topK's being a part of all.
    while (sorted.size() < kept && (sorted.empty() || (whole ? mass <= draw : cut() || mass < choice_.topP))) {
      std::pop_heap(heap.begin(), heap.end(), behind);
      sorted.push_back(heap.back());
      heap.pop_back();
      mass += probability(sorted.back());
    }
    if (sorted.empty()) return best_;
    if (whole) return sorted.back().id;
    size_t last = sorted.size();
    if (cut() && choice_.topP < 1) {
      const double reach = choice_.topP * mass;
      mass = 0;
      for (last = 0; last < sorted.size() && (last == 0 || mass < reach); last++) mass += probability(sorted[last]);
    }
    double before = 0;
    for (size_t i = 0; i + 1 < last; i++) {
      before += probability(sorted[i]);
      if (before > draw * mass) return sorted[i].id;
    }
    return sorted[last - 1].id;
  }

  const int64_t n_;
  const Choice& choice_;
  float* values_;
  double sum_ = 0;
  int64_t best_ = 0;
};

std::vector<int64_t> sample(const at::Tensor& logits, double temperature, int64_t topK, double topP, const std::vector<double>& draws) {
  const int64_t rows = logits.size(0), vocabulary = logits.size(1);
  checkContiguous(logits, "logits", at::kFloat, rows * vocabulary);
  TORCH_CHECK(vocabulary > 0 && temperature >= 0, "expected logits of a vocabulary and a temperature from 0 up, got ", logits.sizes(), " and ", temperature);
  TORCH_CHECK(temperature == 0 || static_cast<int64_t>(draws.size()) == rows, "expected a draw for each of ", rows, " rows, got ", draws.size());
  const Choice choice{static_cast<float>(temperature), topK, static_cast<float>(topP)};
  std::vector<int64_t> chosen(rows);
  inParallel(rows, [&](int64_t i) {
    const float* row = data<float>(logits) + i * vocabulary;
    if (temperature == 0) level().f32.logSumExp(row, vocabulary, &chosen[i]);
    else chosen[i] = Row(row, vocabulary, choice).drawn(static_cast<float>(draws[i]));
  });
  return chosen;
}

TORCH_LIBRARY_FRAGMENT(fettle, m) {
  m.def("sample(Tensor logits, float temperature, int top_k, float top_p, float[] draws) -> int[]", sample);
}

}  // namespace
}  // namespace fettle
