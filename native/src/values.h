// JavaScript values to and from the values of libtorch's dispatcher, one schema parameter at a time.
#pragma once
#include "engine.h"

#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>

namespace fettle {

/// A parameter of a schema, taken apart once.
struct Parameter {
  std::string name;
  c10::TypeKind kind;     // of the value itself, or of the list's elements
  bool list = false;
  bool optional = false;         // the value may be absent
  bool optionalElements = false; // elements of the list may be absent
  int repeat = 0;                // int[2] given one number repeats it
  c10::IValue absent;            // what an omitted argument stands for
  bool required = false;
};

Parameter parameterOf(const c10::Argument& argument);
/// True for undefined and null.
bool isAbsent(Args& args, napi_value value);
/// The value of a present argument; names the parameter in its error.
c10::IValue argumentOf(Args& args, napi_value value, const Parameter& parameter);
/// Tensors become new handles, lists arrays.
napi_value resultOf(Args& args, c10::IValue value);

}  // namespace fettle
