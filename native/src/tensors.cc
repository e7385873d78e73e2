// Data in and out of tensors: typed arrays, raw bytes, mapped files; and what a tensor says about itself.
#include "engine.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/GradMode.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

namespace fettle {
namespace {

struct Bytes {
  char* data = nullptr;
  size_t length = 0;
};

Bytes bytesOf(Args& args, size_t i) {
  Bytes bytes;
  napi_typedarray_type type;
  size_t count = 0, offset;
  void* data = nullptr;
  napi_value buffer;
  if (i >= args.n || napi_get_typedarray_info(args.env, args.v[i], &type, &count, &data, &buffer, &offset) != napi_ok)
    throw CodedError("native.argument", "expected a typed array");
  static const size_t sizes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
  bytes.data = static_cast<char*>(data);
  bytes.length = count * sizes[type];
  return bytes;
}

int64_t countOf(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (auto size : shape) {
    if (size < 0) throw CodedError("native.argument", "a shape may not hold a negative size");
    if (__builtin_mul_overflow(count, size, &count)) throw CodedError("native.argument", "the shape is too large");
  }
  return count;
}

/// fromBytes(bytes, shape, dtype): a copy of raw little-endian numbers.
napi_value fromBytes(Args& args) {
  Bytes bytes = bytesOf(args, 0);
  auto shape = args.integers(1);
  auto type = typeOf(args.text(2));
  auto needed = static_cast<size_t>(countOf(shape)) * c10::elementSize(type);
  if (needed != bytes.length)
    throw CodedError("native.argument", "the shape needs " + std::to_string(needed) + " bytes of " + typeName(type) + ", got " + std::to_string(bytes.length));
  auto tensor = at::empty(shape, at::TensorOptions().dtype(type));
  if (needed) std::memcpy(tensor.data_ptr(), bytes.data, needed);
  return args.make(std::move(tensor));
}

/// toBytes(handle, dtype?): contiguous raw numbers in an ArrayBuffer, converted first when a type is named.
napi_value toBytes(Args& args) {
  c10::AutoGradMode off(false);
  at::Tensor tensor = args.tensor(0).detach();
  if (args.given(1)) tensor = tensor.to(typeOf(args.text(1)));
  tensor = tensor.to(at::kCPU).contiguous();
  void* data;
  napi_value buffer;
  size_t length = tensor.nbytes();
  if (napi_create_arraybuffer(args.env, length, &data, &buffer) != napi_ok) throw CodedError("native.memory", "cannot allocate an ArrayBuffer of " + std::to_string(length) + " bytes");
  if (length) std::memcpy(data, tensor.data_ptr(), length);
  return buffer;
}

/// writeBytes(handle, fd): contiguous raw numbers into an open file, from where they lie. @throws with the system's own code, such as ENOSPC
napi_value writeBytes(Args& args) {
  c10::AutoGradMode off(false);
  const at::Tensor tensor = args.tensor(0).detach().to(at::kCPU).contiguous();
  const int file = static_cast<int>(args.integer(1));
  const auto* data = static_cast<const char*>(tensor.const_data_ptr());
  for (size_t at = 0, length = tensor.nbytes(); at < length;) {
    // One call moves at most 2 GiB.
    const ssize_t written = write(file, data + at, std::min(length - at, size_t(1) << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw CodedError(strerrorname_np(errno), std::string("cannot write: ") + std::strerror(errno));
    at += written;
  }
  return args.none();
}

/// copyBytes(handle, bytes): overwrites a contiguous CPU tensor with raw numbers.
napi_value copyBytes(Args& args) {
  auto& tensor = args.tensor(0);
  Bytes bytes = bytesOf(args, 1);
  if (!tensor.device().is_cpu() || !tensor.is_contiguous()) throw CodedError("native.argument", "expected a contiguous tensor on the CPU, got " + describe(tensor));
  if (bytes.length != tensor.nbytes()) throw CodedError("native.argument", "expected " + std::to_string(tensor.nbytes()) + " bytes, got " + std::to_string(bytes.length));
  if (bytes.length) std::memcpy(tensor.data_ptr(), bytes.data, bytes.length);
  return args.none();
}

struct Mapping {
  char* data = nullptr;
  size_t length = 0;
  Mapping() { all().insert(this); }
  ~Mapping() {
    all().erase(this);
    if (data) munmap(data, length);
  }
  bool holds(const char* at) const { return at >= data && at < data + length; }
  /// Those that tensors show, closed or not. Never destroyed: mappings outlive other statics.
  static std::set<const Mapping*>& all() {
    static auto& found = *new std::set<const Mapping*>;
    return found;
  }
};
std::vector<std::shared_ptr<Mapping>> mappings;

[[noreturn]] void failedFile(const std::string& path, const char* what) {
  throw CodedError("native.file", std::string("cannot ") + what + " " + path + ": " + std::strerror(errno));
}

/// mapOpen(path): maps a file privately (writes stay in memory) and returns [id, length].
napi_value mapOpen(Args& args) {
  auto path = args.text(0);
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) failedFile(path, "open");
  struct stat status;
  auto mapping = std::make_shared<Mapping>();
  if (fstat(file, &status) == 0 && status.st_size > 0) {
    void* data = mmap(nullptr, status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file, 0);
    close(file);
    if (data == MAP_FAILED) failedFile(path, "map");
    mapping->data = static_cast<char*>(data);
    mapping->length = status.st_size;
  } else {
    close(file);
  }
  size_t length = mapping->length;
  mappings.push_back(std::move(mapping));
  return args.make(std::vector<int64_t>{static_cast<int64_t>(mappings.size() - 1), static_cast<int64_t>(length)});
}

std::shared_ptr<Mapping>& mappingAt(int64_t id) {
  if (id < 0 || static_cast<size_t>(id) >= mappings.size() || !mappings[id]) throw CodedError("native.file", "the mapped file was closed");
  return mappings[id];
}

/// mapTensor(id, byteOffset, shape, dtype): a tensor over the mapped bytes; it keeps the mapping alive.
napi_value mapTensor(Args& args) {
  auto mapping = mappingAt(args.integer(0));
  int64_t offset = args.integer(1);
  auto shape = args.integers(2);
  auto type = typeOf(args.text(3));
  auto size = static_cast<int64_t>(c10::elementSize(type));
  int64_t count = countOf(shape);
  if (offset < 0 || count > static_cast<int64_t>(mapping->length) / size || offset > static_cast<int64_t>(mapping->length) - count * size)
    throw CodedError("native.file", "the tensor reaches past the end of the file: offset " + std::to_string(offset) + ", " + std::to_string(count) + " x " +
                                        typeName(type) + ", file of " + std::to_string(mapping->length) + " bytes");
  auto options = at::TensorOptions().dtype(type);
  if (count == 0) return args.make(at::empty(shape, options));
  char* data = mapping->data + offset;
  auto tensor = at::from_blob(data, shape, [mapping](void*) {}, options);
  // Kernels may rely on natural alignment, which a file does not promise.
  return args.make(reinterpret_cast<uintptr_t>(data) % size ? tensor.clone() : std::move(tensor));
}

/// mapForget(handle): pages that are a mapped tensor's alone leave this process's memory; they are read from the file again where they are needed.
napi_value mapForget(Args& args) {
  auto& tensor = args.tensor(0);
  if (!tensor.device().is_cpu() || !tensor.is_contiguous()) return args.makeBool(false);
  auto* data = static_cast<const char*>(tensor.const_data_ptr());
  if (std::none_of(Mapping::all().begin(), Mapping::all().end(), [&](const Mapping* mapping) { return mapping->holds(data); })) return args.makeBool(false);
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page, end = (reinterpret_cast<uintptr_t>(data) + tensor.nbytes()) / page * page;
  return args.makeBool(end > begin && madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED) == 0);
}

napi_value mapClose(Args& args) {
  mappingAt(args.integer(0)).reset();
  return args.none();
}

napi_value free_(Args& args) {
  table().release(args.handle(0));
  return args.none();
}

/// freeAll(handles: Uint32Array, count)
napi_value freeAll(Args& args) {
  Bytes bytes = bytesOf(args, 0);
  size_t count = args.integer(1);
  auto* handles = reinterpret_cast<uint32_t*>(bytes.data);
  for (size_t i = 0; i < count && i < bytes.length / 4; i++) table().release(handles[i]);
  return args.none();
}

napi_value shape(Args& args) { return args.make(args.tensor(0).sizes().vec()); }
napi_value strides(Args& args) { return args.make(args.tensor(0).strides().vec()); }
napi_value dtype(Args& args) { return args.make(std::string(typeName(args.tensor(0).scalar_type()))); }
napi_value device(Args& args) { return args.make(args.tensor(0).device().str()); }
napi_value numel(Args& args) { return args.make(static_cast<double>(args.tensor(0).numel())); }
napi_value contiguous(Args& args) { return args.makeBool(args.tensor(0).is_contiguous()); }
napi_value live(Args& args) { return args.make(static_cast<double>(table().live())); }
napi_value alias(Args& args) { return args.make(at::Tensor(args.tensor(0))); }
napi_value address(Args& args) { return args.make(static_cast<double>(reinterpret_cast<uintptr_t>(args.tensor(0).data_ptr()))); }

napi_value item(Args& args) {
  auto& tensor = args.tensor(0);
  if (tensor.numel() != 1) throw CodedError("native.argument", "item() needs a tensor of one element, got " + describe(tensor));
  return args.make(tensor.item().toDouble());
}

}  // namespace

void defineTensors(napi_env env, napi_value exports) {
  define(env, exports, "fromBytes", guarded<fromBytes>);
  define(env, exports, "toBytes", guarded<toBytes>);
  define(env, exports, "writeBytes", guarded<writeBytes>);
  define(env, exports, "copyBytes", guarded<copyBytes>);
  define(env, exports, "mapOpen", guarded<mapOpen>);
  define(env, exports, "mapTensor", guarded<mapTensor>);
  define(env, exports, "mapForget", guarded<mapForget>);
  define(env, exports, "mapClose", guarded<mapClose>);
  define(env, exports, "free", guarded<free_>);
  define(env, exports, "freeAll", guarded<freeAll>);
  define(env, exports, "shape", guarded<shape>);
  define(env, exports, "strides", guarded<strides>);
  define(env, exports, "dtype", guarded<dtype>);
  define(env, exports, "device", guarded<device>);
  define(env, exports, "numel", guarded<numel>);
  define(env, exports, "contiguous", guarded<contiguous>);
  define(env, exports, "live", guarded<live>);
  define(env, exports, "alias", guarded<alias>);
  define(env, exports, "address", guarded<address>);
  define(env, exports, "item", guarded<item>);
}

}  // namespace fettle
