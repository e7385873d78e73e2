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

struct Choice { float temperature; int64_t topK; float topP; };
struct Candidate { float value; int64_t id; };

class Row {
 public:
  Row(const float* logits, int64_t vocabulary, const Choice& choice) : n_(vocabulary), choice_(choice) {
    values_ = local().floats(n_);
    level().f32.widen(logits, values_, n_, 1 / choice.temperature);
    sum_ = level().f32.logSumExp(values_, n_, &best_);
  }

  /// The token at `draw`, in [0, 1), of the mass of those that stay, likeliest first.
  int64_t drawn(float draw) const {
    // The tail of the vocabulary has hardly any mass: it is looked at only where the draw may reach it.
    for (float below : {8.0f, 16.0f, INFINITY}) {
      const int64_t found = among(candidates(values_[best_] - below), below == INFINITY, draw);
      if (found >= 0) return found;
    }
    return best_;
  }

 private:
  static Scratch& local() {
    static thread_local Scratch scratch;
    return scratch;
  }

  std::vector<Candidate> candidates(float least) const {
    std::vector<Candidate> found;
    for (int64_t i = 0; i < n_; i++)
      if (values_[i] >= least) found.push_back({values_[i], i});
    return found;
  }

  /// −1: others than these may be needed.
  int64_t among(std::vector<Candidate> c, bool all, float draw) const {
    const bool cut = choice_.topK > 0 && choice_.topK < n_;
    const size_t kept = cut ? std::min<size_t>(c.size(), choice_.topK) : c.size();
    if (kept == 0 || (cut && !all && c.size() < static_cast<size_t>(choice_.topK))) return -1;
    // Ties go to the lower id.
    std::partial_sort(c.begin(), c.begin() + kept, c.end(), [](const Candidate& a, const Candidate& b) { return a.value > b.value || (a.value == b.value && a.id < b.id); });
    double total = 0, mass = 0, before = 0;
    for (size_t i = 0; cut && i < kept; i++) total += std::exp(static_cast<double>(c[i].value) - sum_);
    const double whole = cut ? total : 1;
    // Token i stays when those before it do not reach topP yet; the first always stays.
    size_t last = 0;
    for (; last < kept && (last == 0 || choice_.topP >= 1 || mass < choice_.topP); last++) mass += std::exp(static_cast<double>(c[last].value) - sum_) / whole;
    if (!cut && !all && (choice_.topP < 1 ? mass < choice_.topP : mass <= draw)) return -1;
    const double target = draw * (choice_.topP < 1 || cut ? mass : std::max(mass, 1.0));
    for (size_t i = 0; i < last; i++) {
      before += std::exp(static_cast<double>(c[i].value) - sum_) / whole;
      if (before > target) return c[i].id;
    }
    return c[last - 1].id;
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
