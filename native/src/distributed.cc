// Stores, process groups and collectives: c10d over Gloo. Collectives may be waited for later: they run on threads of
// Gloo's own. Groups and works are numbers for JavaScript, as tensors are.
#include "engine.h"

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>

namespace fettle {
namespace {

template <typename T>
class Numbered {
 public:
  uint32_t put(T value) {
    values_[++last_] = std::move(value);
    return last_;
  }
  T& get(uint32_t id, const char* what) {
    auto found = values_.find(id);
    if (found == values_.end()) throw CodedError("native.argument", std::string("expected an open ") + what + ", got number " + std::to_string(id));
    return found->second;
  }
  T take(uint32_t id, const char* what) {
    T value = std::move(get(id, what));
    values_.erase(id);
    return value;
  }

 private:
  std::map<uint32_t, T> values_;
  uint32_t last_ = 0;
};

struct Pending {
  c10::intrusive_ptr<c10d::Work> work;
  std::vector<at::Tensor> tensors;  // alive until the work is done
};

Numbered<c10::intrusive_ptr<c10d::Store>>& stores() {
  static Numbered<c10::intrusive_ptr<c10d::Store>> instance;
  return instance;
}
Numbered<c10::intrusive_ptr<c10d::Backend>>& groups() {
  static Numbered<c10::intrusive_ptr<c10d::Backend>> instance;
  return instance;
}
Numbered<Pending>& works() {
  static Numbered<Pending> instance;
  return instance;
}

c10d::Store& storeAt(Args& a, size_t i) { return *stores().get(a.handle(i), "store"); }
c10d::Backend& groupAt(Args& a, size_t i) { return *groups().get(a.handle(i), "process group"); }
at::Tensor tensorAt(Args& a, size_t i) { return a.tensor(i).detach(); }
std::chrono::milliseconds millisecondsAt(Args& a, size_t i) { return std::chrono::milliseconds(a.integer(i)); }

/// openFileStore(path, ranks, timeout in ms)
napi_value openFileStore(Args& a) {
  auto store = c10::make_intrusive<c10d::FileStore>(a.text(0), static_cast<int>(a.integer(1)));
  store->setTimeout(millisecondsAt(a, 2));
  return a.make(static_cast<double>(stores().put(store)));
}

/// A socket that only this machine reaches: c10d's own listens at all addresses.
int loopbackSocket(uint16_t port) {
  int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bool bound = made >= 0 && setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 && bind(made, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  if (bound) return made;
  std::string why = std::strerror(errno);
  if (made >= 0) close(made);
  throw CodedError("native.open", "cannot listen at 127.0.0.1:" + std::to_string(port) + ": " + why);
}

/// openTcpStore(host, port, ranks, serves, timeout in ms): [store, port]
napi_value openTcpStore(Args& a) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(a.integer(1));
  options.numWorkers = static_cast<size_t>(a.integer(2));
  options.isServer = a.boolean(3);
  options.waitWorkers = false;
  options.timeout = millisecondsAt(a, 4);
  if (options.isServer && a.text(0) == "127.0.0.1") options.masterListenFd = loopbackSocket(options.port);
  auto store = c10::make_intrusive<c10d::TCPStore>(a.text(0), options);
  int64_t port = store->getPort();
  return a.make(std::vector<int64_t>{stores().put(store), port});
}

napi_value closeStore(Args& a) {
  stores().take(a.handle(0), "store");
  return a.none();
}

napi_value storeSet(Args& a) {
  storeAt(a, 0).set(a.text(1), a.text(2));
  return a.none();
}

/// storeGet(store, key): waits for the key, up to the store's timeout.
napi_value storeGet(Args& a) { return a.make(storeAt(a, 0).get_to_str(a.text(1))); }
napi_value storeHas(Args& a) { return a.makeBool(storeAt(a, 0).check({a.text(1)})); }
napi_value storeAdd(Args& a) { return a.make(static_cast<double>(storeAt(a, 0).add(a.text(1), a.integer(2)))); }

/// openGroup(store, name, rank, size, timeout in ms, address): Gloo bound to the address of this machine that is named.
napi_value openGroup(Args& a) {
  auto store = c10::make_intrusive<c10d::PrefixStore>(a.text(1), stores().get(a.handle(0), "store"));
  auto options = c10d::ProcessGroupGloo::Options::create(millisecondsAt(a, 4));
  options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(a.text(5)));
  c10::intrusive_ptr<c10d::Backend> group =
      c10::make_intrusive<c10d::ProcessGroupGloo>(store, static_cast<int>(a.integer(2)), static_cast<int>(a.integer(3)), options);
  return a.make(static_cast<double>(groups().put(group)));
}

/// storeExternal(store): the store, for another addon's group. adoptGroup(group): a group of another addon.
napi_value storeExternal(Args& a) {
  napi_value result;
  napi_create_external(a.env, &stores().get(a.handle(0), "store"), nullptr, nullptr, &result);
  return result;
}
napi_value adoptGroup(Args& a) {
  void* made = nullptr;
  if (napi_get_value_external(a.env, a.v[0], &made) != napi_ok) throw CodedError("native.argument", "expected a group of another addon");
  auto* group = static_cast<c10::intrusive_ptr<c10d::Backend>*>(made);
  uint32_t id = groups().put(std::move(*group));
  delete group;
  return a.make(static_cast<double>(id));
}

napi_value closeGroup(Args& a) {
  groups().take(a.handle(0), "process group");
  return a.none();
}

/// What a supervisor reads of this rank in a file: collectives that it has begun, and whether it waits for one now.
struct Progress {
  std::atomic<uint64_t> begun{0};
  std::atomic<uint64_t> waits{0};
};
Progress* progress = nullptr;

/// showProgress(path): shows it there.
napi_value showProgress(Args& a) {
  const std::string path = a.text(0);
  int file = open(path.c_str(), O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, sizeof(Progress)) != 0) {
    if (file >= 0) close(file);
    throw CodedError("native.file", "cannot write " + path);
  }
  void* memory = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) throw CodedError("native.file", "cannot map " + path);
  progress = new (memory) Progress();
  return a.none();
}

/// Waits for the peers, and shows that it does.
void await(c10d::Work& work) {
  struct Waiting {
    Waiting() { if (progress) progress->waits = 1; }
    ~Waiting() { if (progress) progress->waits = 0; }
  } waiting;
  work.wait();
}

/// Waits for a collective now, or gives its number back. `later` is the argument that says which.
napi_value finish(Args& a, size_t later, c10::intrusive_ptr<c10d::Work> work, std::vector<at::Tensor> tensors) {
  if (progress) progress->begun.fetch_add(1);
  if (a.n > later && a.boolean(later)) return a.make(static_cast<double>(works().put({std::move(work), std::move(tensors)})));
  await(*work);
  return a.make(0.0);
}

/// allReduce(group, tensor, 'sum' | 'max' | 'min', later)
napi_value allReduce(Args& a) {
  std::vector<at::Tensor> tensors{tensorAt(a, 1)};
  c10d::AllreduceOptions options;
  const std::string kind = a.text(2);
  options.reduceOp = kind == "max" ? c10d::ReduceOp::MAX : kind == "min" ? c10d::ReduceOp::MIN : c10d::ReduceOp::SUM;
  auto work = groupAt(a, 0).allreduce(tensors, options);
  return finish(a, 3, std::move(work), tensors);
}

/// allGather(group, out, own, later): `out` is each rank's own, one after the other.
napi_value allGather(Args& a) {
  at::Tensor out = tensorAt(a, 1), own = tensorAt(a, 2);
  auto work = groupAt(a, 0)._allgather_base(out, own);
  return finish(a, 3, std::move(work), {out, own});
}

/// allToAll(group, out, in, later): piece r of `in` goes to rank r, piece r of `out` comes from it.
napi_value allToAll(Args& a) {
  at::Tensor out = tensorAt(a, 1), in = tensorAt(a, 2);
  std::vector<int64_t> even;
  auto work = groupAt(a, 0).alltoall_base(out, in, even, even);
  return finish(a, 3, std::move(work), {out, in});
}

/// broadcast(group, tensor, root, later)
napi_value broadcast(Args& a) {
  std::vector<at::Tensor> tensors{tensorAt(a, 1)};
  c10d::BroadcastOptions options;
  options.rootRank = a.integer(2);
  auto work = groupAt(a, 0).broadcast(tensors, options);
  return finish(a, 3, std::move(work), tensors);
}

/// send(group, tensor, rank, tag, later), receive(group, tensor, rank, tag, later)
napi_value send(Args& a) {
  std::vector<at::Tensor> tensors{tensorAt(a, 1)};
  auto work = groupAt(a, 0).send(tensors, static_cast<int>(a.integer(2)), static_cast<int>(a.integer(3)));
  return finish(a, 4, std::move(work), tensors);
}
napi_value receive(Args& a) {
  std::vector<at::Tensor> tensors{tensorAt(a, 1)};
  auto work = groupAt(a, 0).recv(tensors, static_cast<int>(a.integer(2)), static_cast<int>(a.integer(3)));
  return finish(a, 4, std::move(work), tensors);
}

napi_value waitWork(Args& a) {
  Pending pending = works().take(a.handle(0), "collective");
  await(*pending.work);
  return a.none();
}

}  // namespace

void defineDistributed(napi_env env, napi_value exports) {
  define(env, exports, "openFileStore", guarded<openFileStore>);
  define(env, exports, "openTcpStore", guarded<openTcpStore>);
  define(env, exports, "closeStore", guarded<closeStore>);
  define(env, exports, "storeSet", guarded<storeSet>);
  define(env, exports, "storeGet", guarded<storeGet>);
  define(env, exports, "storeHas", guarded<storeHas>);
  define(env, exports, "storeAdd", guarded<storeAdd>);
  define(env, exports, "openGroup", guarded<openGroup>);
  define(env, exports, "storeExternal", guarded<storeExternal>);
  define(env, exports, "adoptGroup", guarded<adoptGroup>);
  define(env, exports, "closeGroup", guarded<closeGroup>);
  define(env, exports, "allReduce", guarded<allReduce>);
  define(env, exports, "allGather", guarded<allGather>);
  define(env, exports, "allToAll", guarded<allToAll>);
  define(env, exports, "broadcast", guarded<broadcast>);
  define(env, exports, "send", guarded<send>);
  define(env, exports, "receive", guarded<receive>);
  define(env, exports, "waitWork", guarded<waitWork>);
  define(env, exports, "showProgress", guarded<showProgress>);
}

}  // namespace fettle
