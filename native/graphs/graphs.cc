// graphs.node: CUDA graphs. An addon of its own, built where CUDA's headers are found: engine.node needs none. Loaded after
// libtorch_cuda, whose symbols it uses. Graphs stand behind integers; only the JavaScript thread touches them.
#define USE_CUDA
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <node_api.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <unordered_map>

namespace {

struct Graph {
  at::cuda::CUDAGraph graph;
  c10::cuda::CUDAStream own, before;
  Graph(c10::cuda::CUDAStream own, c10::cuda::CUDAStream before) : own(own), before(before) {}
};

std::unordered_map<int64_t, std::unique_ptr<Graph>>& graphs() {
  static std::unordered_map<int64_t, std::unique_ptr<Graph>> all;
  return all;
}

/// Graphs share one pool: they are replayed one after the other, and what one leaves is read before the next runs.
at::cuda::MempoolId_t pool() {
  static const at::cuda::MempoolId_t shared = at::cuda::graph_pool_handle();
  return shared;
}

Graph& graphOf(int64_t id) {
  const auto found = graphs().find(id);
  if (found == graphs().end()) throw std::runtime_error("expected a recorded graph, got " + std::to_string(id) + ", which was freed or never made");
  return *found->second;
}

/// begin(device): launches go into the graph from now on, on a stream of its own that waits for what was launched before.
int64_t begin(int64_t device) {
  static int64_t next = 1;
  const auto index = static_cast<c10::DeviceIndex>(device);
  auto before = c10::cuda::getCurrentCUDAStream(index);
  before.synchronize();
  auto graph = std::make_unique<Graph>(c10::cuda::getStreamFromPool(false, index), before);
  c10::cuda::setCurrentCUDAStream(graph->own);
  try {
    graph->graph.capture_begin(pool(), cudaStreamCaptureModeThreadLocal);
  } catch (...) {
    c10::cuda::setCurrentCUDAStream(before);
    throw;
  }
  graphs()[next] = std::move(graph);
  return next++;
}

int64_t end(int64_t id) {
  Graph& graph = graphOf(id);
  graph.graph.capture_end();
  c10::cuda::setCurrentCUDAStream(graph.before);
  return 0;
}

/// The recording failed: the stream is put back, and what the driver says of the broken recording is nobody's business any more.
int64_t abandon(int64_t id) {
  Graph& graph = graphOf(id);
  try {
    graph.graph.capture_end();
  } catch (const std::exception&) {
  }
  c10::cuda::setCurrentCUDAStream(graph.before);
  graphs().erase(id);
  return 0;
}

int64_t replay(int64_t id) {
  graphOf(id).graph.replay();
  return 0;
}

int64_t release(int64_t id) {
  graphOf(id);
  graphs().erase(id);
  return 0;
}

template <int64_t (*method)(int64_t)> napi_value guarded(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value value, result;
  int64_t given = 0;
  napi_get_cb_info(env, info, &count, &value, nullptr, nullptr);
  napi_get_value_int64(env, value, &given);
  try {
    napi_create_int64(env, method(given), &result);
    return result;
  } catch (const std::exception& error) {
    napi_throw_error(env, "native.graphs", error.what());
    return nullptr;
  }
}

void define(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

}  // namespace

NAPI_MODULE_INIT() {
  define(env, exports, "begin", guarded<begin>);
  define(env, exports, "end", guarded<end>);
  define(env, exports, "abandon", guarded<abandon>);
  define(env, exports, "replay", guarded<replay>);
  define(env, exports, "free", guarded<release>);
  return exports;
}
