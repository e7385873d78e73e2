// Functions of a library that was opened at run time.
#pragma once
#include <c10/util/Exception.h>
#include <dlfcn.h>

namespace fettle::cuda {

/// @param of what the error calls the library, `remedy` what helps where it lacks the function
template <class F> void findSymbol(void* library, const char* name, F& function, const char* of, const char* remedy) {
  function = reinterpret_cast<F>(dlsym(library, name));
  TORCH_CHECK(function, "expected '", name, "' in ", of, ", which lacks it; ", remedy);
}

}  // namespace fettle::cuda
