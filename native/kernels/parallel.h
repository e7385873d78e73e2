// Work of a kernel spread over threads, task by task, so that uneven tasks balance.
#pragma once
#include "sizes.h"

#include <algorithm>
#include <cstdint>

namespace fettle {

/// Threads that work may be spread over.
int64_t threadCount();

/// Runs task(context, i) for i in [0, tasks) on up to `threadCount()` threads, the caller's among them.
void runTasks(int64_t tasks, void (*task)(void* context, int64_t index), void* context);

/// Runs body(task) for task in [0, tasks). Bodies do not throw.
template <class Body> void inParallel(int64_t tasks, const Body& body) {
  if (tasks == 1) return body(0);
  runTasks(tasks, [](void* context, int64_t index) { (*static_cast<const Body*>(context))(index); }, const_cast<Body*>(&body));
}

/// Runs body(first, count) over slices of `rows`.
template <class Body> void overRows(int64_t rows, int64_t slice, const Body& body) {
  inParallel((rows + slice - 1) / slice, [&](int64_t task) { body(task * slice, std::min(slice, rows - task * slice)); });
}

/// How many of `count` each task takes: at most `most`, evenly, and fewer until there are two tasks a thread; `times` as many tasks are made.
inline int64_t evenShare(int64_t count, int64_t most, int64_t times) {
  int64_t each = divideUp(count, divideUp(count, most));
  while (each > 1 && times * divideUp(count, each) < 2 * threadCount()) each = divideUp(each, 2);
  return each;
}

}  // namespace fettle
