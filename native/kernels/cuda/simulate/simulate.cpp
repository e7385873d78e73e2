// The kernels as a library for the CPU: g++ -std=c++20 -O1 -shared -fPIC -DFETTLE_SIMULATE -I.. simulate.cpp
#include "../activation.cu"
#include "../head.cu"
#include "../list.h"
#include "../norm.cu"
#include "../rotary.cu"

#include <ucontext.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace simulate {

Index thread, block, blockSize, gridSize;

namespace {

constexpr size_t kStack = size_t(128) << 10;

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStack]};
  Index index;
  Wait waiting = Wait::none;
  bool done = false;
  float given = 0;
};

std::vector<std::unique_ptr<Fiber>> fibers;
Fiber* running = nullptr;
ucontext_t scheduler;
const std::function<void()>* body = nullptr;

void enter() {
  (*body)();
  running->done = true;
  swapcontext(&running->context, &scheduler);
}

void start(Fiber& fiber, unsigned number) {
  fiber.index = {number % blockSize.x, number / blockSize.x % blockSize.y, number / (blockSize.x * blockSize.y)};
  fiber.waiting = Wait::none;
  fiber.done = false;
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStack;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, enter, 0);
}

/// Opens barriers that all live threads of `count` fibers from `first` have reached. True when one opened.
bool open(unsigned first, unsigned count, Wait kind) {
  bool any = false;
  for (unsigned i = first; i < first + count; i++) {
    if (fibers[i]->done) continue;
    if (fibers[i]->waiting != kind) return false;
    any = true;
  }
  if (any)
    for (unsigned i = first; i < first + count; i++) fibers[i]->waiting = Wait::none;
  return any;
}

/// False when threads wait for others that never come: a barrier that not all of them reach.
bool runBlock(unsigned count) {
  for (unsigned i = 0; i < count; i++) start(*fibers[i], i);
  while (true) {
    bool ran = false, live = false;
    for (unsigned i = 0; i < count; i++) {
      Fiber& fiber = *fibers[i];
      if (fiber.done || fiber.waiting != Wait::none) continue;
      running = &fiber;
      thread = fiber.index;
      swapcontext(&scheduler, &fiber.context);
      ran = true;
    }
    for (unsigned i = 0; i < count; i++) live |= !fibers[i]->done;
    if (!live) return true;
    bool opened = open(0, count, Wait::block);
    for (unsigned i = 0; i < count; i += 32) opened |= open(i, std::min(32u, count - i), Wait::warp);
    if (!ran && !opened) return false;
  }
}

bool launch(const unsigned* grid, const unsigned* size, const std::function<void()>& kernel) {
  gridSize = {grid[0], grid[1], grid[2]};
  blockSize = {size[0], size[1], size[2]};
  const unsigned count = size[0] * size[1] * size[2];
  while (fibers.size() < count) fibers.push_back(std::make_unique<Fiber>());
  body = &kernel;
  for (block.z = 0; block.z < grid[2]; block.z++)
    for (block.y = 0; block.y < grid[1]; block.y++)
      for (block.x = 0; block.x < grid[0]; block.x++)
        if (!runBlock(count)) return false;
  return true;
}

using Launch = bool (*)(const unsigned*, const unsigned*, void**);

template <class... A, size_t... I> bool launchWith(void (*kernel)(A...), const unsigned* grid, const unsigned* size, void** arguments, std::index_sequence<I...>) {
  return launch(grid, size, [&] { kernel(*static_cast<A*>(arguments[I])...); });
}
template <class... A> constexpr size_t countOf(void (*)(A...)) { return sizeof...(A); }
template <auto kernel> bool launchOf(const unsigned* grid, const unsigned* size, void** arguments) {
  return launchWith(kernel, grid, size, arguments, std::make_index_sequence<countOf(kernel)>());
}

struct Entry { const char* name; Launch launch; };
#define FETTLE_ENTRY(...) {#__VA_ARGS__, launchOf<&__VA_ARGS__>},
const Entry entries[] = {FETTLE_NORM(FETTLE_ENTRY) FETTLE_ROTARY(FETTLE_ENTRY) FETTLE_ACTIVATION(FETTLE_ENTRY) FETTLE_HEAD(FETTLE_ENTRY)};

}  // namespace

void wait(Wait kind) {
  Fiber* own = running;
  own->waiting = kind;
  swapcontext(&own->context, &scheduler);
}

float exchange(float value, unsigned mask) {
  Fiber* own = running;
  const unsigned number = own->index.x + blockSize.x * (own->index.y + blockSize.y * own->index.z);
  own->given = value;
  wait(Wait::warp);
  const float other = fibers[number ^ mask]->given;
  wait(Wait::warp);
  return other;
}

}  // namespace simulate

/// 0: done; 1: no such kernel; 2: its threads do not meet at a barrier.
extern "C" int fettleSimulate(const char* expression, const unsigned* grid, const unsigned* size, void** arguments) {
  for (const auto& [name, launch] : simulate::entries)
    if (std::string_view(name) == expression) return launch(grid, size, arguments) ? 0 : 2;
  return 1;
}
