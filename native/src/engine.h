// What every file of engine.node shares: the table of tensors behind the integer handles that JavaScript holds,
// reading of JavaScript arguments, and the one place where C++ exceptions become JavaScript errors.
#pragma once
#include <ATen/core/Tensor.h>
#include <node_api.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace fettle {

/// An error with a stable code; `what()` is the message. Other exceptions get the code `native.torch`.
struct CodedError : std::runtime_error {
  const char* code;
  CodedError(const char* code, const std::string& message) : std::runtime_error(message), code(code) {}
};

/// Tensors by handle. Handle 0 stands for "no tensor". A handle belongs to exactly one JavaScript object, which
/// gives it back once; numbers are then reused. Only the JavaScript thread touches the table.
class Table {
 public:
  uint32_t put(at::Tensor tensor) {
    live_++;
    if (free_.empty()) {
      slots_.push_back(std::move(tensor));
      return static_cast<uint32_t>(slots_.size() - 1);
    }
    uint32_t handle = free_.back();
    free_.pop_back();
    slots_[handle] = std::move(tensor);
    return handle;
  }
  bool has(uint32_t handle) const { return handle < slots_.size() && slots_[handle].defined(); }
  at::Tensor& get(uint32_t handle) {
    if (!has(handle)) throw CodedError("native.freed", "the tensor was freed; lift it out of its scope with keep() or return it");
    return slots_[handle];
  }
  void release(uint32_t handle) {
    if (!has(handle)) return;
    slots_[handle].reset();
    free_.push_back(handle);
    live_--;
  }
  size_t live() const { return live_; }

 private:
  std::vector<at::Tensor> slots_{at::Tensor()};
  std::vector<uint32_t> free_;
  size_t live_ = 0;
};
Table& table();

/// The arguments of one call, and makers of results.
struct Args {
  static constexpr size_t kFew = 6, kMax = 32;
  napi_env env;
  napi_value v[kMax];
  size_t n = kFew;
  void* name = nullptr;  // what the function was defined as, for errors

  Args(napi_env env, napi_callback_info info) : env(env) {
    // Node fills every slot that it is offered, so most calls offer few.
    napi_get_cb_info(env, info, &n, v, nullptr, &name);
    if (n > kFew) {
      n = kMax;
      napi_get_cb_info(env, info, &n, v, nullptr, nullptr);
    }
  }
  bool given(size_t i) const;
  uint32_t handle(size_t i) const { return static_cast<uint32_t>(integer(i)); }
  at::Tensor& tensor(size_t i) const { return table().get(handle(i)); }
  double number(size_t i) const;
  int64_t integer(size_t i) const;
  bool boolean(size_t i) const;
  std::string text(size_t i) const { return string(v[i]); }
  std::string string(napi_value value) const;
  std::vector<int64_t> integers(size_t i) const;
  std::vector<at::Tensor> tensors(size_t i) const;

  napi_value make(double x) const;
  napi_value make(const std::string& x) const;
  napi_value make(const std::vector<int64_t>& x) const;
  napi_value makeBool(bool x) const;
  napi_value make(at::Tensor x) const;  // a new handle; 0 for an undefined tensor
  napi_value none() const { return nullptr; }
};

/// `float32 [2, 3] cpu`, for error messages.
std::string describe(const at::Tensor& tensor);
/// PyTorch's name of a number type, such as `bfloat16`.
const char* typeName(at::ScalarType type);
at::ScalarType typeOf(const std::string& name);

/// Turns the exception in flight into a pending JavaScript NativeError. `operation` is the operator or function that was called.
void raise(napi_env env, const std::string& operation, const std::vector<std::string>& shapes);

using Method = napi_value (*)(Args&);
void define(napi_env env, napi_value exports, const char* name, napi_callback callback);

/// Wraps a method so that no C++ exception leaves it.
template <Method method>
napi_value guarded(napi_env env, napi_callback_info info) {
  Args args(env, info);
  try {
    return method(args);
  } catch (...) {
    raise(env, static_cast<const char*>(args.name), {});
    return nullptr;
  }
}

void defineTensors(napi_env env, napi_value exports);
void defineOperators(napi_env env, napi_value exports);
void defineAutograd(napi_env env, napi_value exports);
void defineAllocator(napi_env env, napi_value exports);
void defineSystem(napi_env env, napi_value exports);
void defineUsage(napi_env env, napi_value exports);
void defineDistributed(napi_env env, napi_value exports);

}  // namespace fettle
