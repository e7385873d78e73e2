// Gradients: grad mode, requires_grad, backward with given gradients, and the fused optimizer step.
#include "engine.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_fused_adamw.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

namespace fettle {
namespace {

/// gradMode(on): sets it and returns what it was.
napi_value gradMode(Args& args) {
  bool before = c10::GradMode::is_enabled();
  c10::GradMode::set_enabled(args.boolean(0));
  return args.makeBool(before);
}

napi_value requiresGrad(Args& args) { return args.makeBool(args.tensor(0).requires_grad()); }

napi_value setRequiresGrad(Args& args) {
  args.tensor(0).requires_grad_(args.boolean(1));
  return args.none();
}

napi_value grad(Args& args) { return args.make(at::Tensor(args.tensor(0).grad())); }

/// setGrad(handle, gradient | 0)
napi_value setGrad(Args& args) {
  auto& tensor = args.tensor(0);
  if (args.handle(1) == 0) {
    tensor.mutable_grad().reset();
  } else {
    auto& gradient = args.tensor(1);
    if (gradient.sizes() != tensor.sizes() || gradient.device() != tensor.device())
      throw CodedError("native.argument", "expected a gradient like " + describe(tensor) + ", got " + describe(gradient));
    tensor.mutable_grad() = gradient;
  }
  return args.none();
}

/// The gradients beside their tensors; handle 0 stands for the implicit gradient of a scalar.
std::vector<at::Tensor> gradients(Args& args, size_t i, size_t count) {
  std::vector<at::Tensor> result;
  if (!args.given(i)) return result;
  for (auto handle : args.integers(i)) result.push_back(handle ? table().get(static_cast<uint32_t>(handle)) : at::Tensor());
  if (result.size() != count) throw CodedError("native.argument", "expected " + std::to_string(count) + " gradients, got " + std::to_string(result.size()));
  return result;
}

napi_value backwardOf(Args& args) {
  auto roots = args.tensors(0);
  auto given = gradients(args, 1, roots.size());
  bool retain = args.given(2) && args.boolean(2);
  torch::autograd::backward(roots, given, retain, false);
  return args.none();
}

/// gradOf(outputs, inputs, gradients?, retain?, allowUnused?): the gradients, without touching `.grad`.
napi_value gradOf(Args& args) {
  auto outputs = args.tensors(0);
  auto inputs = args.tensors(1);
  auto given = gradients(args, 2, outputs.size());
  bool retain = args.given(3) && args.boolean(3);
  bool unused = args.given(4) && args.boolean(4);
  auto result = torch::autograd::grad(outputs, inputs, given, retain, false, unused);
  napi_value list;
  napi_create_array_with_length(args.env, result.size(), &list);
  for (size_t i = 0; i < result.size(); i++) napi_set_element(args.env, list, static_cast<uint32_t>(i), args.make(std::move(result[i])));
  return list;
}

/// fusedAdamW(params, grads, expAvgs, expAvgSqs, steps, lr, beta1, beta2, weightDecay, eps, gradScale?, foundInf?): counts the
/// steps, then updates in place with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101).
napi_value fusedAdamW(Args& args) {
  c10::AutoGradMode off(false);
  auto parameters = args.tensors(0), given = args.tensors(1), averages = args.tensors(2), squares = args.tensors(3), steps = args.tensors(4);
  if (given.size() != parameters.size() || averages.size() != parameters.size() || squares.size() != parameters.size() || steps.size() != parameters.size())
    throw CodedError("native.argument", "params, grads, expAvgs, expAvgSqs and steps must be equally long");
  if (parameters.empty()) return args.none();
  const auto optional = [&](size_t i) { return args.given(i) && args.handle(i) != 0 ? std::optional<at::Tensor>(args.tensor(i)) : std::nullopt; };
  const auto scale = optional(10), found = optional(11);
  at::_foreach_add_(steps, 1);
  at::_fused_adamw_(parameters, given, averages, squares, {}, steps, args.number(5), args.number(6), args.number(7), args.number(8), args.number(9), false, false, scale, found);
  return args.none();
}

}  // namespace

void defineAutograd(napi_env env, napi_value exports) {
  define(env, exports, "gradMode", guarded<gradMode>);
  define(env, exports, "requiresGrad", guarded<requiresGrad>);
  define(env, exports, "setRequiresGrad", guarded<setRequiresGrad>);
  define(env, exports, "grad", guarded<grad>);
  define(env, exports, "setGrad", guarded<setGrad>);
  define(env, exports, "backward", guarded<backwardOf>);
  define(env, exports, "gradOf", guarded<gradOf>);
  define(env, exports, "fusedAdamW", guarded<fusedAdamW>);
}

}  // namespace fettle
