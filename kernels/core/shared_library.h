#pragma once

#include <string>

namespace zeroth {

/// A library that the program starts without, and opens when something first asks for it.
struct LibraryDescription {
  const char* name;      ///< "cuDNN"
  const char* soname;    ///< "libcudnn.so.9"
  const char* folder;    ///< where the build found it, tried first; may be empty
  const char* compiled;  ///< version of the headers this program was compiled with; may be empty
  const char* mend;      ///< what to do where it is missing: "install ..."
};

/// A library opened with dlopen. It stays open until the process ends, as its handles may outlive this
/// object.
///
/// A library's functions are declared once, in a struct whose members carry their names and types:
///
///   struct CudnnFunctions {
///     SharedLibrary library{kCudnn};
///     ZEROTH_LIBRARY_FUNCTION(library, cudnnCreate);
///     ZEROTH_LIBRARY_FUNCTION(library, cudnnDestroy);
///   };
///
///   const CudnnFunctions& cudnn() {
///     static const CudnnFunctions functions;  // tried again by the next caller when it throws
///     return functions;
///   }
///
/// after which `cudnn().cudnnCreate(&handle)` is checked as the library's own header declares it.
class SharedLibrary {
 public:
  /// Opens `folder`/`soname`, or the `soname` that the loader finds (LD_LIBRARY_PATH, ldconfig). Throws
  /// Error(device) with one line that says what is missing and what to do.
  explicit SharedLibrary(const LibraryDescription& description);

  /// The address of a function. Throws Error(device) where this library, found to be of another version, has
  /// none of that name.
  void* symbol(const char* function) const;
  template <class Function>
  Function function(const char* function_name) const {
    return reinterpret_cast<Function>(symbol(function_name));
  }

  /// The file that was opened.
  const std::string& path() const { return path_; }

 private:
  const LibraryDescription& description_;
  void* handle_;
  std::string path_;
};

}  // namespace zeroth

/// Declares a member `name`: a pointer to the library's function of that name. Names that a header redefines
/// (cublasCreate as cublasCreate_v2) are looked up as redefined.
#define ZEROTH_LIBRARY_FUNCTION(library, name) ZEROTH_LIBRARY_FUNCTION_EXPANDED(library, name)
#define ZEROTH_LIBRARY_FUNCTION_EXPANDED(library, name) \
  decltype(&::name) name = (library).function<decltype(&::name)>(#name)
