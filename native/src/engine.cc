#include "engine.h"

#include <c10/util/Exception.h>

#include <new>

namespace fettle {

Table& table() {
  static Table instance;
  return instance;
}

bool Args::given(size_t i) const {
  if (i >= n) return false;
  napi_valuetype type;
  napi_typeof(env, v[i], &type);
  return type != napi_undefined && type != napi_null;
}

static const char* ordinal(size_t i) {
  static const char* names[] = {"first", "second", "third", "fourth", "fifth", "sixth"};
  return i < 6 ? names[i] : "a later";
}

[[noreturn]] static void wrongArgument(size_t i, const char* expected) {
  throw CodedError("native.argument", std::string("expected ") + expected + " as the " + ordinal(i) + " argument");
}

double Args::number(size_t i) const {
  double x = 0;
  if (i >= n || napi_get_value_double(env, v[i], &x) != napi_ok) wrongArgument(i, "a number");
  return x;
}

int64_t Args::integer(size_t i) const {
  int64_t x = 0;
  if (i >= n || napi_get_value_int64(env, v[i], &x) != napi_ok) wrongArgument(i, "an integer");
  return x;
}

bool Args::boolean(size_t i) const {
  bool x = false;
  if (i >= n || napi_get_value_bool(env, v[i], &x) != napi_ok) wrongArgument(i, "a boolean");
  return x;
}

std::string Args::string(napi_value value) const {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) throw CodedError("native.argument", "expected a string");
  std::string result(length, 0);
  napi_get_value_string_utf8(env, value, result.data(), length + 1, &length);
  return result;
}

std::vector<int64_t> Args::integers(size_t i) const {
  uint32_t length = 0;
  if (i >= n || napi_get_array_length(env, v[i], &length) != napi_ok) wrongArgument(i, "an array of integers");
  std::vector<int64_t> result(length);
  for (uint32_t k = 0; k < length; k++) {
    napi_value element;
    napi_get_element(env, v[i], k, &element);
    if (napi_get_value_int64(env, element, &result[k]) != napi_ok) wrongArgument(i, "an array of integers");
  }
  return result;
}

std::vector<at::Tensor> Args::tensors(size_t i) const {
  std::vector<at::Tensor> result;
  for (auto handle : integers(i)) result.push_back(table().get(static_cast<uint32_t>(handle)));
  return result;
}

napi_value Args::make(double x) const {
  napi_value result;
  napi_create_double(env, x, &result);
  return result;
}

napi_value Args::make(const std::string& x) const {
  napi_value result;
  napi_create_string_utf8(env, x.data(), x.size(), &result);
  return result;
}

napi_value Args::make(const std::vector<int64_t>& x) const {
  napi_value result;
  napi_create_array_with_length(env, x.size(), &result);
  for (size_t i = 0; i < x.size(); i++) napi_set_element(env, result, static_cast<uint32_t>(i), make(static_cast<double>(x[i])));
  return result;
}

napi_value Args::makeBool(bool x) const {
  napi_value result;
  napi_get_boolean(env, x, &result);
  return result;
}

napi_value Args::make(at::Tensor x) const {
  napi_value result;
  napi_create_uint32(env, x.defined() ? table().put(std::move(x)) : 0, &result);
  return result;
}

struct TypeEntry {
  at::ScalarType type;
  const char* name;
};
static const TypeEntry kTypes[] = {
    {at::kFloat, "float32"}, {at::kDouble, "float64"}, {at::kBFloat16, "bfloat16"}, {at::kHalf, "float16"}, {at::kChar, "int8"},
    {at::kByte, "uint8"},    {at::kShort, "int16"},    {at::kInt, "int32"},         {at::kLong, "int64"},   {at::kBool, "bool"},
};

const char* typeName(at::ScalarType type) {
  for (auto& entry : kTypes)
    if (entry.type == type) return entry.name;
  return c10::toString(type);
}

at::ScalarType typeOf(const std::string& name) {
  for (auto& entry : kTypes)
    if (name == entry.name) return entry.type;
  throw CodedError("native.argument", "expected a number type such as float32, bfloat16 or int64, got '" + name + "'");
}

std::string describe(const at::Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  std::string text = std::string(typeName(tensor.scalar_type())) + " [";
  for (int64_t i = 0; i < tensor.dim(); i++) text += (i ? ", " : "") + std::to_string(tensor.size(i));
  return text + "] " + tensor.device().str();
}

// The JavaScript class NativeError, handed over once by the binding: errors made from it carry the JavaScript stack.
static napi_ref errorClass = nullptr;

static napi_value setErrorClass(Args& args) {
  if (errorClass) napi_delete_reference(args.env, errorClass);
  napi_create_reference(args.env, args.v[0], 1, &errorClass);
  return args.none();
}

static void throwError(napi_env env, const char* code, const std::string& message, const std::string& operation,
                       const std::vector<std::string>& shapes) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending) return;
  napi_value type, list, values[4], error;
  if (!errorClass || napi_get_reference_value(env, errorClass, &type) != napi_ok) {
    napi_throw_error(env, code, message.c_str());
    return;
  }
  napi_create_array_with_length(env, shapes.size(), &list);
  for (size_t i = 0; i < shapes.size(); i++) {
    napi_value text;
    napi_create_string_utf8(env, shapes[i].data(), shapes[i].size(), &text);
    napi_set_element(env, list, static_cast<uint32_t>(i), text);
  }
  napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &values[0]);
  napi_create_string_utf8(env, message.data(), message.size(), &values[1]);
  napi_create_string_utf8(env, operation.data(), operation.size(), &values[2]);
  values[3] = list;
  if (napi_new_instance(env, type, 4, values, &error) == napi_ok) napi_throw(env, error);
}

static bool isOutOfMemory(const std::string& message) {
  return message.find("not enough memory") != std::string::npos || message.find("can't allocate memory") != std::string::npos ||
         message.find("out of memory") != std::string::npos;
}

void raise(napi_env env, const std::string& operation, const std::vector<std::string>& shapes) {
  try {
    throw;
  } catch (const CodedError& error) {
    throwError(env, error.code, error.what(), operation, shapes);
  } catch (const c10::Error& error) {
    std::string message = error.what_without_backtrace();
    throwError(env, isOutOfMemory(message) ? "native.memory" : "native.torch", message, operation, shapes);
  } catch (const std::bad_alloc&) {
    throwError(env, "native.memory", "not enough memory", operation, shapes);
  } catch (const std::exception& error) {
    throwError(env, "native.torch", error.what(), operation, shapes);
  } catch (...) {
    throwError(env, "native.torch", "unknown C++ exception", operation, shapes);
  }
}

void define(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, const_cast<char*>(name), &function);
  napi_set_named_property(env, exports, name, function);
}

}  // namespace fettle

NAPI_MODULE_INIT() {
  using namespace fettle;
  define(env, exports, "setErrorClass", guarded<setErrorClass>);
  defineTensors(env, exports);
  defineOperators(env, exports);
  defineAutograd(env, exports);
  defineAllocator(env, exports);
  defineSystem(env, exports);
  defineUsage(env, exports);
  defineDistributed(env, exports);
  return exports;
}
