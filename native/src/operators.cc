// The generic call: any operator known to libtorch's dispatcher (ATen's and those of native/kernels) by its schema.
#include "engine.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <c10/core/DefaultDtype.h>

#include <cmath>
#include <memory>

namespace fettle {
namespace {

using c10::TypeKind;
using torch::jit::Stack;

struct Parameter {
  std::string name;
  TypeKind kind;     // of the value itself, or of the list's elements
  bool list = false;
  bool optional = false;         // the value may be absent
  bool optionalElements = false; // elements of the list may be absent
  int repeat = 0;                // int[2] given one number repeats it
  c10::IValue absent;            // what an omitted argument stands for
  bool required = false;
};

struct Operator {
  c10::OperatorHandle handle;
  std::vector<Parameter> parameters;
  std::string name;
  int returnsParameter = -1;  // in-place and out variants return the JavaScript object that was passed
};
std::vector<std::unique_ptr<Operator>> operators;

Parameter parameterOf(const c10::Argument& argument) {
  Parameter p;
  p.name = argument.name();
  auto type = argument.real_type();
  if (type->kind() == TypeKind::OptionalType) {
    p.optional = true;
    type = type->containedType(0);
  }
  if (type->kind() == TypeKind::ListType) {
    p.list = true;
    type = type->containedType(0);
    if (type->kind() == TypeKind::OptionalType) {
      p.optionalElements = true;
      type = type->containedType(0);
    }
  }
  p.kind = type->kind();
  p.repeat = argument.N().value_or(0);
  if (argument.default_value()) p.absent = *argument.default_value();
  p.required = !argument.default_value() && !p.optional;
  return p;
}

int returnedParameter(const c10::FunctionSchema& schema) {
  if (schema.returns().size() != 1) return -1;
  auto* info = schema.returns()[0].alias_info();
  if (!info || !info->isWrite()) return -1;
  for (size_t i = 0; i < schema.arguments().size(); i++) {
    auto* other = schema.arguments()[i].alias_info();
    if (other && other->isWrite() && other->beforeSets() == info->beforeSets() && schema.arguments()[i].type()->kind() == TypeKind::TensorType) return static_cast<int>(i);
  }
  return -1;
}

[[noreturn]] void expected(const Parameter& p, const std::string& what) {
  throw CodedError("native.argument", "expected " + what + " for '" + p.name + "'");
}

double numberOf(Args& a, napi_value v, const Parameter& p) {
  double x;
  if (napi_get_value_double(a.env, v, &x) != napi_ok) expected(p, "a number");
  return x;
}

int64_t integerOf(Args& a, napi_value v, const Parameter& p) {
  double x;
  if (napi_get_value_double(a.env, v, &x) == napi_ok) {
    if (x != std::floor(x) || std::abs(x) > 9.2e18) expected(p, "an integer, got " + std::to_string(x));
    return static_cast<int64_t>(x);
  }
  int64_t result;
  bool exact;
  if (napi_get_value_bigint_int64(a.env, v, &result, &exact) == napi_ok) return result;
  bool flag;
  if (napi_get_value_bool(a.env, v, &flag) == napi_ok) return flag;
  expected(p, "an integer");
}

at::Scalar scalarOf(Args& a, napi_value v, const Parameter& p) {
  double x;
  if (napi_get_value_double(a.env, v, &x) == napi_ok) {
    if (x == std::floor(x) && std::abs(x) < 9e15) return static_cast<int64_t>(x);
    return x;
  }
  bool flag;
  if (napi_get_value_bool(a.env, v, &flag) == napi_ok) return flag;
  return integerOf(a, v, p);
}

at::Tensor& tensorOf(Args& a, napi_value v, const Parameter& p) {
  uint32_t handle = 0;
  if (napi_get_value_uint32(a.env, v, &handle) != napi_ok) expected(p, "a Tensor");
  if (!table().has(handle)) throw CodedError("native.freed", "the tensor given for '" + p.name + "' was freed; lift it out of its scope with keep() or return it from there");
  return table().get(handle);
}

int64_t layoutOf(const std::string& name, const Parameter& p) {
  if (name == "strided") return static_cast<int64_t>(c10::Layout::Strided);
  if (name == "sparse") return static_cast<int64_t>(c10::Layout::Sparse);
  expected(p, "'strided' or 'sparse'");
}

int64_t memoryFormatOf(const std::string& name, const Parameter& p) {
  if (name == "contiguous") return static_cast<int64_t>(c10::MemoryFormat::Contiguous);
  if (name == "preserve") return static_cast<int64_t>(c10::MemoryFormat::Preserve);
  if (name == "channels_last") return static_cast<int64_t>(c10::MemoryFormat::ChannelsLast);
  expected(p, "'contiguous', 'preserve' or 'channels_last'");
}

c10::IValue valueOf(Args& a, napi_value v, const Parameter& p) {
  switch (p.kind) {
    case TypeKind::TensorType: return tensorOf(a, v, p);
    case TypeKind::IntType:
    case TypeKind::SymIntType: return integerOf(a, v, p);
    case TypeKind::FloatType:
    case TypeKind::SymFloatType: return numberOf(a, v, p);
    case TypeKind::BoolType:
    case TypeKind::SymBoolType: {
      bool flag;
      if (napi_get_value_bool(a.env, v, &flag) != napi_ok) expected(p, "a boolean");
      return flag;
    }
    case TypeKind::NumberType: return scalarOf(a, v, p);
    case TypeKind::StringType: return a.string(v);
    case TypeKind::ScalarTypeType: return static_cast<int64_t>(typeOf(a.string(v)));
    case TypeKind::DeviceObjType: return c10::Device(a.string(v));
    case TypeKind::LayoutType: return layoutOf(a.string(v), p);
    case TypeKind::MemoryFormatType: return memoryFormatOf(a.string(v), p);
    default: throw CodedError("native.argument", "'" + p.name + "' is of a kind that JavaScript cannot pass");
  }
}

bool isAbsent(Args& a, napi_value v) {
  napi_valuetype type;
  napi_typeof(a.env, v, &type);
  return type == napi_undefined || type == napi_null;
}

template <typename T, typename Read>
c10::IValue listOf(Args& a, napi_value v, const Parameter& p, uint32_t length, Read read) {
  std::vector<T> result;
  result.reserve(length);
  for (uint32_t k = 0; k < length; k++) {
    napi_value element;
    napi_get_element(a.env, v, k, &element);
    result.push_back(read(a, element, p));
  }
  return c10::IValue(std::move(result));
}

c10::IValue optionalTensors(Args& a, napi_value v, const Parameter& p, uint32_t length) {
  c10::List<std::optional<at::Tensor>> result;
  for (uint32_t k = 0; k < length; k++) {
    napi_value element;
    napi_get_element(a.env, v, k, &element);
    result.push_back(isAbsent(a, element) ? std::optional<at::Tensor>() : std::optional<at::Tensor>(tensorOf(a, element, p)));
  }
  return c10::IValue(std::move(result));
}

c10::IValue scalars(Args& a, napi_value v, const Parameter& p, uint32_t length) {
  c10::List<at::Scalar> result;
  for (uint32_t k = 0; k < length; k++) {
    napi_value element;
    napi_get_element(a.env, v, k, &element);
    result.push_back(scalarOf(a, element, p));
  }
  return c10::IValue(std::move(result));
}

c10::IValue listValue(Args& a, napi_value v, const Parameter& p) {
  uint32_t length = 0;
  if (napi_get_array_length(a.env, v, &length) != napi_ok) {
    if (p.repeat > 0 && p.kind == TypeKind::FloatType) return std::vector<double>(p.repeat, numberOf(a, v, p));
    if (p.repeat > 0 && p.kind == TypeKind::BoolType) return c10::IValue(c10::List<bool>(std::initializer_list<bool>{valueOf(a, v, p).toBool()}));
    if (p.repeat > 0) return std::vector<int64_t>(p.repeat, integerOf(a, v, p));
    expected(p, "an array");
  }
  switch (p.kind) {
    case TypeKind::TensorType:
      if (p.optionalElements) return optionalTensors(a, v, p, length);
      return listOf<at::Tensor>(a, v, p, length, tensorOf);
    case TypeKind::IntType:
    case TypeKind::SymIntType: return listOf<int64_t>(a, v, p, length, integerOf);
    case TypeKind::FloatType: return listOf<double>(a, v, p, length, numberOf);
    case TypeKind::BoolType: return listOf<bool>(a, v, p, length, [](Args& a, napi_value v, const Parameter& p) { return valueOf(a, v, p).toBool(); });
    case TypeKind::StringType: return listOf<std::string>(a, v, p, length, [](Args& a, napi_value v, const Parameter&) { return a.string(v); });
    case TypeKind::NumberType: return scalars(a, v, p, length);
    default: throw CodedError("native.argument", "'" + p.name + "' is a list of a kind that JavaScript cannot pass");
  }
}

napi_value resultOf(Args& a, c10::IValue value) {
  if (value.isTensor()) return a.make(std::move(value).toTensor());
  if (value.isInt()) return a.make(static_cast<double>(value.toInt()));
  if (value.isDouble()) return a.make(value.toDouble());
  if (value.isBool()) return a.makeBool(value.toBool());
  if (value.isString()) return a.make(value.toStringRef());
  if (value.isScalar()) return a.make(value.toScalar().toDouble());
  if (value.isNone()) return a.none();
  if (!value.isList()) throw CodedError("native.operator", "the operator returns a kind that JavaScript cannot receive: " + value.tagKind());
  auto list = value.toListRef();
  napi_value result;
  napi_create_array_with_length(a.env, list.size(), &result);
  for (size_t k = 0; k < list.size(); k++) napi_set_element(a.env, result, static_cast<uint32_t>(k), resultOf(a, list[k]));
  return result;
}

void push(Args& a, Stack& stack, const Operator& op) {
  for (size_t k = 0; k < op.parameters.size(); k++) {
    const Parameter& p = op.parameters[k];
    if (k + 1 >= a.n || isAbsent(a, a.v[k + 1])) {
      if (p.required) throw CodedError("native.argument", "the argument '" + p.name + "' is missing");
      stack.push_back(p.absent);
    } else {
      stack.push_back(p.list ? listValue(a, a.v[k + 1], p) : valueOf(a, a.v[k + 1], p));
    }
  }
}

/// What a failed call was given, for its error: `self: float32 [2, 3] cpu`.
std::vector<std::string> givenTensors(Args& a, const Operator& op) {
  std::vector<std::string> result;
  for (size_t k = 0; k < op.parameters.size() && k + 1 < a.n; k++) {
    const Parameter& p = op.parameters[k];
    if (p.kind != TypeKind::TensorType || isAbsent(a, a.v[k + 1])) continue;
    uint32_t count = 1;
    if (p.list && napi_get_array_length(a.env, a.v[k + 1], &count) != napi_ok) continue;
    for (uint32_t i = 0; i < count && i < 8; i++) {
      napi_value value = a.v[k + 1];
      uint32_t handle = 0;
      if (p.list) napi_get_element(a.env, a.v[k + 1], i, &value);
      napi_get_value_uint32(a.env, value, &handle);
      result.push_back(p.name + (p.list ? "[" + std::to_string(i) + "]" : "") + ": " + (table().has(handle) ? describe(table().get(handle)) : "freed"));
    }
  }
  return result;
}

/// call(operator, ...arguments) in schema order; undefined stands for a default.
napi_value callOperator(napi_env env, napi_callback_info info) {
  Args a(env, info);
  Operator* op = nullptr;
  // JavaScript cannot re-enter an operator, so that one stack serves all calls.
  static Stack stack;
  try {
    op = operators.at(a.integer(0)).get();
    stack.clear();
    push(a, stack, *op);
    op->handle.callBoxed(stack);
    if (op->returnsParameter >= 0 || stack.empty()) {
      stack.clear();
      return nullptr;
    }
    if (stack.size() == 1) {
      c10::IValue value = std::move(stack.back());
      stack.clear();
      return resultOf(a, std::move(value));
    }
    napi_value result;
    napi_create_array_with_length(env, stack.size(), &result);
    for (size_t k = 0; k < stack.size(); k++) napi_set_element(env, result, static_cast<uint32_t>(k), resultOf(a, std::move(stack[k])));
    stack.clear();
    return result;
  } catch (...) {
    raise(env, op ? op->name : "", op ? givenTensors(a, *op) : std::vector<std::string>());
    stack.clear();
    return nullptr;
  }
}

const char* kindName(const Parameter& p) { return p.kind == TypeKind::TensorType ? (p.list ? "tensors" : "tensor") : (p.list ? "list" : "value"); }

napi_value strings(Args& a, const std::vector<std::string>& values) {
  napi_value result;
  napi_create_array_with_length(a.env, values.size(), &result);
  for (size_t i = 0; i < values.size(); i++) napi_set_element(a.env, result, static_cast<uint32_t>(i), a.make(values[i]));
  return result;
}

const char* returnKind(const c10::Argument& value) {
  if (value.type()->kind() == TypeKind::TensorType) return "tensor";
  if (value.type()->kind() == TypeKind::ListType && value.type()->containedType(0)->kind() == TypeKind::TensorType) return "tensors";
  return "value";
}

/// resolve(name, overload): [id, schema, parameter names, parameter kinds, return kinds, returned parameter, first keyword-only parameter]
napi_value resolve(Args& a) {
  auto name = a.text(0), overload = a.text(1);
  auto found = c10::Dispatcher::singleton().findSchema({name, overload});
  if (!found) throw CodedError("native.operator", "libtorch has no operator '" + name + (overload.empty() ? "" : "." + overload) + "'");
  auto op = std::make_unique<Operator>(Operator{*found, {}, name + (overload.empty() ? "" : "." + overload)});
  std::vector<std::string> names, kinds, returns;
  int keywords = -1;
  for (auto& argument : found->schema().arguments()) {
    if (argument.kwarg_only() && keywords < 0) keywords = static_cast<int>(op->parameters.size());
    op->parameters.push_back(parameterOf(argument));
    names.push_back(argument.name());
    kinds.push_back(kindName(op->parameters.back()));
  }
  for (auto& value : found->schema().returns()) returns.push_back(returnKind(value));
  if (op->parameters.size() + 1 > Args::kMax) throw CodedError("native.operator", "'" + name + "' has more arguments than a call can carry");
  op->returnsParameter = returnedParameter(found->schema());
  double id = static_cast<double>(operators.size());
  int returned = op->returnsParameter;
  operators.push_back(std::move(op));
  napi_value result, items[] = {a.make(id), a.make(c10::str(found->schema())), strings(a, names), strings(a, kinds), strings(a, returns), a.make(static_cast<double>(returned)), a.make(static_cast<double>(keywords))};
  napi_create_array_with_length(a.env, 7, &result);
  for (uint32_t i = 0; i < 7; i++) napi_set_element(a.env, result, i, items[i]);
  return result;
}

/// overloads(name): the overloads that libtorch knows of an operator.
napi_value overloads(Args& a) {
  auto name = a.text(0);
  std::vector<std::string> result;
  for (auto& known : c10::Dispatcher::singleton().getAllOpNames())
    if (known.name == name && c10::Dispatcher::singleton().findSchema(known)) result.push_back(known.overload_name);
  return strings(a, result);
}

}  // namespace

void defineOperators(napi_env env, napi_value exports) {
  define(env, exports, "call", callOperator);
  define(env, exports, "resolve", guarded<resolve>);
  define(env, exports, "overloads", guarded<overloads>);
}

}  // namespace fettle
