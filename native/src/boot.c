// boot.node: opens a shared library by its path with global visibility, so that engine.node (linked without a
// run path) finds libtorch's symbols wherever the library lives. Node's own process.dlopen cannot do this.
#include <dlfcn.h>
#include <node_api.h>

static napi_value open_library(napi_env env, napi_callback_info info) {
  size_t count = 1, length = 0;
  napi_value argument;
  char path[4096];
  if (napi_get_cb_info(env, info, &count, &argument, NULL, NULL) != napi_ok || count < 1 ||
      napi_get_value_string_utf8(env, argument, path, sizeof path, &length) != napi_ok) {
    napi_throw_type_error(env, "native.argument", "expected the path of a shared library");
    return NULL;
  }
  if (!dlopen(path, RTLD_NOW | RTLD_GLOBAL)) napi_throw_error(env, "native.open", dlerror());
  return NULL;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "open", NAPI_AUTO_LENGTH, open_library, NULL, &function);
  napi_set_named_property(env, exports, "open", function);
  return exports;
}
