#include "values.h"

#include <cmath>

namespace fettle {

using c10::TypeKind;

bool isAbsent(Args& a, napi_value v) {
  napi_valuetype type;
  napi_typeof(a.env, v, &type);
  return type == napi_undefined || type == napi_null;
}

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

namespace {

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
    if (p.repeat > 0 && p.kind == TypeKind::BoolType) return std::vector<bool>(p.repeat, valueOf(a, v, p).toBool());
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

}  // namespace

c10::IValue argumentOf(Args& a, napi_value v, const Parameter& p) { return p.list ? listValue(a, v, p) : valueOf(a, v, p); }

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

}  // namespace fettle
