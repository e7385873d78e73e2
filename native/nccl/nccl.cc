// nccl.node: process groups over NCCL, for ranks on GPUs. An addon of its own, built where NCCL's and CUDA's headers are
// found: engine.node needs neither. Loaded after libtorch_cuda, whose symbols it uses; stores and groups are the engine's.
#define USE_CUDA
#define USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#include <node_api.h>

#include <chrono>
#include <string>

namespace {

using Group = c10::intrusive_ptr<c10d::Backend>;
using Store = c10::intrusive_ptr<c10d::Store>;

std::string text(napi_env env, napi_value value) {
  size_t length = 0;
  napi_get_value_string_utf8(env, value, nullptr, 0, &length);
  std::string result(length, 0);
  napi_get_value_string_utf8(env, value, result.data(), length + 1, &length);
  return result;
}

int64_t integer(napi_env env, napi_value value) {
  int64_t result = 0;
  napi_get_value_int64(env, value, &result);
  return result;
}

/// openGroup(store, name, rank, size, timeout in ms): the group, for the engine to adopt.
napi_value openGroup(napi_env env, napi_callback_info info) {
  size_t count = 5;
  napi_value v[5];
  napi_get_cb_info(env, info, &count, v, nullptr, nullptr);
  try {
    void* store = nullptr;
    napi_get_value_external(env, v[0], &store);
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = std::chrono::milliseconds(integer(env, v[4]));
    auto named = c10::make_intrusive<c10d::PrefixStore>(text(env, v[1]), *static_cast<Store*>(store));
    auto* group = new Group(c10::make_intrusive<c10d::ProcessGroupNCCL>(named, static_cast<int>(integer(env, v[2])), static_cast<int>(integer(env, v[3])), options));
    napi_value result;
    napi_create_external(env, group, nullptr, nullptr, &result);
    return result;
  } catch (const std::exception& error) {
    napi_throw_error(env, "native.nccl", error.what());
    return nullptr;
  }
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "openGroup", NAPI_AUTO_LENGTH, openGroup, nullptr, &function);
  napi_set_named_property(env, exports, "openGroup", function);
  return exports;
}
