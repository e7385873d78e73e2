// A whole layer for one more token of each of a few rows: norm, q/k/v, rotary positions, attention over the cache, out,
// norm, SwiGLU, down. So few rows take less time than the calls that would run them block by block.
#include "decode.h"
#include "dispatch.h"
#include "multiply.h"
#include "parallel.h"
#include "scratch.h"

#include <torch/library.h>

namespace fettle {
namespace {

using at::Tensor;
using Optional = std::optional<Tensor>;

struct Linear {
  const Tensor& weight;
  const Optional& bias;
  int64_t in() const { return weight.size(1); }
  int64_t out() const { return weight.size(0); }
  void check(const char* name, const Tensor& x, int64_t rows, int64_t columns) const {
    checkMatrix(weight, name, rows, columns);
    checkSame(weight, name, x);
    if (bias) checkContiguous(*bias, name, x.scalar_type(), out());
  }
};

struct Rotation {
  const Tensor &cos, &sin;
  int64_t dim;
  bool interleaved;
};

/// One layer's parts; results between them are rounded to T, as where blocks run one by one.
template <class T> class Layer {
 public:
  Layer(int64_t rows, int64_t hidden) : rows_(rows), hidden_(hidden) {}

  void norm(const T* x, const Tensor& weight, double eps, T* out) const {
    level().rows<T>().normForward(x, Norm<T>{data<T>(weight), nullptr, static_cast<float>(eps), 0, false}, out, nullptr, rows_, hidden_);
  }

  void linear(const T* x, const Linear& w, const T* residual, T* out) const {
    constexpr bool half = sizeof(T) == 2;
    Result result{out, half, w.out(), data<T>(w.bias), residual, w.out()};
    multiplyInto(result, rows_, w.out(), {{{x, half, w.in()}, {w.weight.data_ptr(), half, w.weight.stride(0), true}, w.in(), w.out()}});
  }

  void rotate(T* qkv, const Heads& shape, const Rotation& r) const {
    level().rows<T>().rotary(qkv, shape.width(), data<float>(r.cos), data<float>(r.sin), rows_, RotatedHeads{1, shape.heads + shape.kvHeads, shape.heads + 2 * shape.kvHeads, shape.dim, r.dim, 1, r.interleaved}, 1);
  }

  void swiglu(const T* in, int64_t width, T* out) const {
    inParallel(rows_, [&](int64_t i) { level().rows<T>().activate(in + i * 2 * width, out + i * width, 1, width, Activation::silu, true); });
  }

 private:
  const int64_t rows_, hidden_;
};

void decodeLayer(const Tensor& x, const Tensor& inputNorm, double inputEps, const Tensor& qkv, const Optional& qkvBias, const Tensor& cos, const Tensor& sin, int64_t rotaryDim, bool interleaved,
                 const Tensor& keys, const Tensor& values, const std::vector<int64_t>& lengths, const Optional& added, int64_t heads, int64_t kvHeads, int64_t dim, double scale,
                 const Tensor& out, const Optional& outBias, const Tensor& postNorm, double postEps, const Tensor& up, const Optional& upBias, const Tensor& down, const Optional& downBias, const Tensor& result) {
  const int64_t rows = x.size(0), hidden = x.size(1), width = down.size(1);
  const Heads shape{heads, kvHeads, dim, false, static_cast<float>(scale)};
  const Bias bias{added};
  const Cache cache{keys, values, lengths};
  const Linear linears[] = {{qkv, qkvBias}, {out, outBias}, {up, upBias}, {down, downBias}};
  checkContiguous(x, "x", x.scalar_type(), static_cast<int64_t>(lengths.size()) * hidden);
  checkContiguous(result, "result", x.scalar_type(), rows * hidden);
  checkContiguous(inputNorm, "input_norm", x.scalar_type(), hidden);
  checkContiguous(postNorm, "post_norm", x.scalar_type(), hidden);
  checkContiguous(cos, "cos", at::kFloat, rows * (rotaryDim / 2));
  checkContiguous(sin, "sin", at::kFloat, rows * (rotaryDim / 2));
  TORCH_CHECK(rotaryDim % 2 == 0 && rotaryDim <= dim, "expected an even rotated part of heads of ", dim, ", got ", rotaryDim);
  linears[0].check("qkv", x, shape.width(), hidden);
  linears[1].check("out", x, hidden, heads * dim);
  linears[2].check("up", x, 2 * width, hidden);
  linears[3].check("down", x, hidden, width);
  checkCache(cache, shape, bias, x.scalar_type());
  static Scratch scratch;
  Pieces memory(scratch.floats(rows * (2 * hidden + shape.width() + heads * dim + 3 * width) + 6 * 16));
  byType(x, [&]<class T>(T) {
    T *normed = memory.template take<T>(rows * hidden), *middle = memory.template take<T>(rows * hidden), *joined = memory.template take<T>(rows * shape.width());
    T *attended = memory.template take<T>(rows * heads * dim), *wide = memory.template take<T>(rows * 2 * width), *active = memory.template take<T>(rows * width);
    const Layer<T> layer(rows, hidden);
    layer.norm(data<T>(x), inputNorm, inputEps, normed);
    layer.linear(normed, linears[0], nullptr, joined);
    layer.rotate(joined, shape, {cos, sin, rotaryDim, interleaved});
    attendOver<T>(joined, cache, shape, bias, attended);
    layer.linear(attended, linears[1], data<T>(x), middle);
    layer.norm(middle, postNorm, postEps, normed);
    layer.linear(normed, linears[2], nullptr, wide);
    layer.swiglu(wide, width, active);
    layer.linear(active, linears[3], middle, data<T>(result));
  });
}

TORCH_LIBRARY_FRAGMENT(fettle, m) {
  m.def("decode_layer(Tensor x, Tensor input_norm, float input_eps, Tensor qkv, Tensor? qkv_bias, Tensor cos, Tensor sin, int rotary_dim, bool interleaved, Tensor(a!) keys, Tensor(b!) values, "
        "int[] lengths, Tensor? bias, int heads, int kv_heads, int head_dim, float scale, Tensor out, Tensor? out_bias, Tensor post_norm, float post_eps, Tensor up, Tensor? up_bias, "
        "Tensor down, Tensor? down_bias, Tensor(c!) result) -> ()", decodeLayer);
}

}  // namespace
}  // namespace fettle
