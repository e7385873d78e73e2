// The generic call: any operator known to libtorch's dispatcher (ATen's and those of native/kernels) by its schema.
#include "values.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <memory>

namespace fettle {
namespace {

using c10::TypeKind;
using torch::jit::Stack;

struct Operator {
  c10::OperatorHandle handle;
  std::vector<Parameter> parameters;
  std::string name;
  int returnsParameter = -1;  // in-place and out variants return the JavaScript object that was passed
};
std::vector<std::unique_ptr<Operator>> operators;

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

void push(Args& a, Stack& stack, const Operator& op) {
  for (size_t k = 0; k < op.parameters.size(); k++) {
    const Parameter& p = op.parameters[k];
    if (k + 1 >= a.n || isAbsent(a, a.v[k + 1])) {
      if (p.required) throw CodedError("native.argument", "the argument '" + p.name + "' is missing");
      stack.push_back(p.absent);
    } else {
      stack.push_back(argumentOf(a, a.v[k + 1], p));
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

/// resolve(name, overload): [id, schema, parameter names, parameter kinds, return kinds, returned parameter, changed parameters]
napi_value resolve(Args& a) {
  auto name = a.text(0), overload = a.text(1);
  auto found = c10::Dispatcher::singleton().findSchema({name, overload});
  if (!found) throw CodedError("native.operator", "libtorch has no operator '" + name + (overload.empty() ? "" : "." + overload) + "'");
  auto op = std::make_unique<Operator>(Operator{*found, {}, name + (overload.empty() ? "" : "." + overload)});
  std::vector<std::string> names, kinds, returns;
  std::vector<int64_t> changed;
  for (auto& argument : found->schema().arguments()) {
    if (argument.alias_info() && argument.alias_info()->isWrite()) changed.push_back(static_cast<int64_t>(op->parameters.size()));
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
  napi_value result, items[] = {a.make(id), a.make(c10::str(found->schema())), strings(a, names), strings(a, kinds), strings(a, returns), a.make(static_cast<double>(returned)), a.make(changed)};
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
