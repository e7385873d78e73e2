// Threads of libtorch's own pool (OpenMP), with tasks taken one by one, so that uneven tasks balance.
#pragma once
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace fettle {

/// Runs body(task) for task in [0, tasks). Bodies do not throw.
template <class Body> void inParallel(int64_t tasks, const Body& body) {
  if (tasks <= 1 || at::get_num_threads() == 1 || at::in_parallel_region()) {
    for (int64_t i = 0; i < tasks; i++) body(i);
    return;
  }
  std::atomic<int64_t> next{0};
#pragma omp parallel
  for (int64_t i = next.fetch_add(1, std::memory_order_relaxed); i < tasks; i = next.fetch_add(1, std::memory_order_relaxed)) body(i);
}

/// Runs body(first, count) over slices of `rows`.
template <class Body> void overRows(int64_t rows, int64_t slice, const Body& body) {
  inParallel((rows + slice - 1) / slice, [&](int64_t task) { body(task * slice, std::min(slice, rows - task * slice)); });
}

}  // namespace fettle
