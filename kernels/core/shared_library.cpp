#include "kernels/core/shared_library.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <link.h>

#include "kernels/core/error.h"

namespace zeroth {

namespace {

/// The loader's own words for its last failure.
std::string loader_error() {
  const char* text = dlerror();
  return text == nullptr ? "unknown error" : text;
}

}  // namespace

SharedLibrary::SharedLibrary(const LibraryDescription& description)
    : description_(description), handle_(nullptr) {
  std::string error;
  if (*description.folder != '\0') {
    handle_ =
        dlopen(fmt::format("{}/{}", description.folder, description.soname).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) error = loader_error() + "; ";
  }
  if (handle_ == nullptr) handle_ = dlopen(description.soname, RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr)
    fail(ErrorKind::device, fmt::format("{} cannot be loaded: {}{}; {}", description.name, error,
                                        loader_error(), description.mend));
  link_map* map = nullptr;
  path_ = dlinfo(handle_, RTLD_DI_LINKMAP, &map) == 0 ? map->l_name : description.soname;
}

void* SharedLibrary::symbol(const char* function) const {
  void* address = dlsym(handle_, function);
  if (address == nullptr)
    fail(ErrorKind::device,
         fmt::format("{} at {} has no function {}: it is of another version than the {} this program was "
                     "compiled with; {}",
                     description_.name, path_, function, description_.compiled, description_.mend));
  return address;
}

}  // namespace zeroth
