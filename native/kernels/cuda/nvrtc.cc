// Kernels are compiled at run time, once for each architecture, and kept on disk.
#include "driver.h"

#include "symbols.h"
#include "list.h"

#include <c10/util/Exception.h>
#include <c10/util/hash.h>
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

namespace fettle::cuda {
namespace {

using Program = void*;

struct Compiler {
  int (*version)(int*, int*);
  int (*countArchitectures)(int*);
  int (*listArchitectures)(int*);
  int (*create)(Program*, const char*, const char*, int, const char* const*, const char* const*);
  int (*destroy)(Program*);
  int (*addName)(Program, const char*);
  int (*compile)(Program, int, const char* const*);
  int (*loweredName)(Program, const char*, const char**);
  int (*logSize)(Program, size_t*);
  int (*log)(Program, char*);
  int (*cubinSize)(Program, size_t*);
  int (*cubin)(Program, char*);
  int (*ptxSize)(Program, size_t*);
  int (*ptx)(Program, char*);
  const char* (*message)(int);
};

struct Places {
  std::string sources, cache;
  std::vector<std::string> libraries;
} places;

const std::vector<std::pair<std::string, std::vector<std::string>>>& files() {
#define FETTLE_NAME(...) #__VA_ARGS__,
  static const std::vector<std::pair<std::string, std::vector<std::string>>> all = {
      {"norm", {FETTLE_NORM(FETTLE_NAME)}}, {"rotary", {FETTLE_ROTARY(FETTLE_NAME)}}, {"activation", {FETTLE_ACTIVATION(FETTLE_NAME)}}, {"head", {FETTLE_HEAD(FETTLE_NAME)}}};
  return all;
}

template <class F> void find(void* library, const char* name, F& function) { findSymbol(library, name, function, "the NVRTC library", "NVRTC 12 or later has it"); }

Compiler openCompiler() {
  std::string tried;
  for (const std::string& name : places.libraries) {
    void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      tried += "; " + std::string(dlerror());
      continue;
    }
    Compiler c;
    find(library, "nvrtcVersion", c.version);
    find(library, "nvrtcGetNumSupportedArchs", c.countArchitectures);
    find(library, "nvrtcGetSupportedArchs", c.listArchitectures);
    find(library, "nvrtcCreateProgram", c.create);
    find(library, "nvrtcDestroyProgram", c.destroy);
    find(library, "nvrtcAddNameExpression", c.addName);
    find(library, "nvrtcCompileProgram", c.compile);
    find(library, "nvrtcGetLoweredName", c.loweredName);
    find(library, "nvrtcGetProgramLogSize", c.logSize);
    find(library, "nvrtcGetProgramLog", c.log);
    find(library, "nvrtcGetCUBINSize", c.cubinSize);
    find(library, "nvrtcGetCUBIN", c.cubin);
    find(library, "nvrtcGetPTXSize", c.ptxSize);
    find(library, "nvrtcGetPTX", c.ptx);
    find(library, "nvrtcGetErrorString", c.message);
    return c;
  }
  TORCH_CHECK(false, "no NVRTC library was found to compile kernels for the GPU with", tried, "; run: npm run setup -- --with cuda, or set CUDA_HOME");
}

const Compiler& compiler() {
  static const Compiler opened = openCompiler();
  return opened;
}

void check(int result, const char* what) { TORCH_CHECK(result == 0, "NVRTC: ", what, ": ", compiler().message(result)); }

std::string textOf(const std::string& name) {
  std::ifstream file(places.sources + "/" + name, std::ios::binary);
  TORCH_CHECK(file.good(), "expected the kernel's text in ", places.sources, "/", name, ", which cannot be read; install the package again");
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Text {
  std::string main, common, rows;
  explicit Text(const std::string& file) : main(textOf(file + ".cu")), common(textOf("common.cuh")), rows(textOf("rows.h")) {}
};

const std::vector<std::string>& expressionsOf(const std::string& file) {
  for (const auto& [name, expressions] : files())
    if (name == file) return expressions;
  TORCH_CHECK(false, "expected a file of kernels (norm, rotary, activation, head), got '", file, "'");
}

/// Frees the program however its scope is left.
struct Owner {
  Program program = nullptr;
  ~Owner() {
    if (program) compiler().destroy(&program);
  }
};

std::vector<std::string> optionsFor(const std::string& architecture) { return {"--gpu-architecture=" + architecture, "--std=c++17", "--fmad=true", "-default-device"}; }

Image build(const std::string& file, const std::string& architecture, const Text& text, std::string* log) {
  const Compiler& c = compiler();
  const char *headers[] = {text.common.c_str(), text.rows.c_str()}, *names[] = {"common.cuh", "rows.h"};
  Owner own;
  check(c.create(&own.program, text.main.c_str(), (file + ".cu").c_str(), 2, headers, names), "create");
  for (const std::string& expression : expressionsOf(file)) check(c.addName(own.program, expression.c_str()), expression.c_str());
  const std::vector<std::string> options = optionsFor(architecture);
  std::vector<const char*> given;
  for (const std::string& option : options) given.push_back(option.c_str());
  const int result = c.compile(own.program, static_cast<int>(given.size()), given.data());
  size_t size = 0;
  std::string said;
  if (c.logSize(own.program, &size) == 0 && size > 1) {
    said.resize(size);
    c.log(own.program, said.data());
    said.resize(size - 1);
  }
  TORCH_CHECK(result == 0, "NVRTC does not compile ", file, ".cu for ", architecture, ": ", c.message(result), "\n", said);
  if (log) *log = said;
  Image image;
  const bool machine = architecture.rfind("sm_", 0) == 0;
  check(machine ? c.cubinSize(own.program, &size) : c.ptxSize(own.program, &size), "size");
  image.code.resize(size);
  check(machine ? c.cubin(own.program, image.code.data()) : c.ptx(own.program, image.code.data()), "code");
  for (const std::string& expression : expressionsOf(file)) {
    const char* name = nullptr;
    check(c.loweredName(own.program, expression.c_str(), &name), expression.c_str());
    image.names.emplace_back(expression, name);
  }
  return image;
}

/// A kept image: lines `expression<TAB>name`, an empty line, the number of bytes, the bytes.
bool load(const std::filesystem::path& path, Image& image) {
  std::ifstream file(path, std::ios::binary);
  std::string line;
  while (std::getline(file, line) && !line.empty()) {
    const size_t tab = line.find('\t');
    if (tab == std::string::npos) return false;
    image.names.emplace_back(line.substr(0, tab), line.substr(tab + 1));
  }
  size_t size = 0;
  if (!std::getline(file, line) || !(std::istringstream(line) >> size)) return false;
  image.code.assign(std::istreambuf_iterator<char>(file), {});
  return image.code.size() == size;
}

/// Best effort: a cache that cannot be written costs a compilation at the next start. Renamed, so that ranks may write at once.
void store(const std::filesystem::path& path, const Image& image) {
  std::error_code ignored;
  std::filesystem::create_directories(path.parent_path(), ignored);
  const std::filesystem::path temporary = path.string() + "." + std::to_string(getpid());
  {
    std::ofstream file(temporary, std::ios::binary);
    for (const auto& [expression, name] : image.names) file << expression << '\t' << name << '\n';
    file << '\n' << image.code.size() << '\n' << image.code;
    if (!file.good()) return;
  }
  std::filesystem::rename(temporary, path, ignored);
}

}  // namespace

void setUp(const std::string& sources, const std::string& cache, const std::vector<std::string>& libraries) { places = {sources, cache, libraries}; }

std::string compilerVersion() {
  int major = 0, minor = 0;
  check(compiler().version(&major, &minor), "version");
  return std::to_string(major) + "." + std::to_string(minor);
}

std::vector<int> architectures() {
  int count = 0;
  check(compiler().countArchitectures(&count), "architectures");
  std::vector<int> all(static_cast<size_t>(count));
  check(compiler().listArchitectures(all.data()), "architectures");
  return all;
}

std::string architectureFor(int capability) {
  int best = 0;
  for (int known : architectures()) {
    if (known == capability) return "sm_" + std::to_string(known);
    if (known < capability) best = std::max(best, known);
  }
  TORCH_CHECK(best > 0, "expected a GPU that NVRTC ", compilerVersion(), " compiles for, got one of compute capability ", capability / 10, ".", capability % 10, "; use an older CUDA");
  return "compute_" + std::to_string(best);
}

Image compile(const std::string& file, const std::string& architecture, std::string* log) {
  const Text text(file);
  std::string key = compilerVersion() + '\0' + text.main + '\0' + text.common + '\0' + text.rows;
  for (const std::string& part : optionsFor(architecture)) key += '\0' + part;
  for (const std::string& expression : expressionsOf(file)) key += '\0' + expression;
  const std::filesystem::path kept = std::filesystem::path(places.cache) / (file + "-" + architecture + "-" + c10::sha1(key).str() + ".kernel");
  Image image;
  if (!places.cache.empty() && load(kept, image)) return image;
  std::string said;
  image = build(file, architecture, text, &said);
  if (log) *log = said;
  // What was warned of is said again the next time.
  if (!places.cache.empty() && said.empty()) store(kept, image);
  return image;
}

}  // namespace fettle::cuda
