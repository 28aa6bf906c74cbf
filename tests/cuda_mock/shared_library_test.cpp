#include "kernels/core/shared_library.h"

#include <unistd.h>

#include <filesystem>

#include "kernels/core/cuda_libraries.h"
#include "tests/cuda_mock/fixture.h"

// As the library's own header would.
extern "C" {
std::size_t cudnnGetVersion();
int toyDouble(int x);
}

using namespace zeroth;

namespace {

constexpr LibraryDescription kToy{"Toy", "libcudnn.so.9", TOY_COMPLETE_FOLDER, "1.2.3", "install Toy"};

struct ToyFunctions {
  SharedLibrary library;
  explicit ToyFunctions(const LibraryDescription& description) : library(description) {}
  ZEROTH_LIBRARY_FUNCTION(library, cudnnGetVersion);
  ZEROTH_LIBRARY_FUNCTION(library, toyDouble);
};

}  // namespace

TEST_CASE("a library's functions are called as its header declares them", "[shared_library]") {
  const ToyFunctions toy(kToy);
  CHECK(toy.toyDouble(21) == 42);
  CHECK(toy.cudnnGetVersion() == 91203);
  CHECK(toy.library.path() == std::string(TOY_COMPLETE_FOLDER "/libcudnn.so.9"));
}

TEST_CASE("a library that is not there is named, with what to do", "[shared_library]") {
  static constexpr LibraryDescription kMissing{"Toy", "libzeroth-toy.so.1", "/nowhere", "1.2.3",
                                               "install Toy"};
  const auto [kind, message] = failure_of([] { SharedLibrary library(kMissing); });
  CHECK(kind == ErrorKind::device);
  CHECK_THAT(message, ContainsSubstring("Toy cannot be loaded: /nowhere/libzeroth-toy.so.1: "));
  CHECK_THAT(message, ContainsSubstring("; libzeroth-toy.so.1: "));
  CHECK_THAT(message, ContainsSubstring("; install Toy"));
  CHECK(message.find('\n') == std::string::npos);
}

TEST_CASE("a library that lacks a function is named, with the function", "[shared_library]") {
  static constexpr LibraryDescription kOther{"Toy", "libcudnn.so.9", TOY_INCOMPLETE_FOLDER, "1.2.3",
                                             "install Toy"};
  CHECK(
      failure_of([] { ToyFunctions toy(kOther); }) ==
      std::pair(ErrorKind::device,
                std::string(
                    "Toy at " TOY_INCOMPLETE_FOLDER
                    "/libcudnn.so.9 has no function toyDouble: it is of another version than the 1.2.3 this "
                    "program was compiled with; install Toy")));
}

TEST_CASE("where the build's folder is gone, the loader's own search counts", "[shared_library]") {
  static constexpr LibraryDescription kMoved{"C library", "libc.so.6", "/nowhere", "", "install it"};
  CHECK(std::filesystem::exists(SharedLibrary(kMoved).path()));
}

TEST_CASE("a library made for another machine is refused in one line", "[shared_library]") {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("zeroth-toy-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file("/proc/self/status", folder / "libzeroth-toy.so.1");
  const std::string text = folder.string();
  const LibraryDescription broken{"Toy", "libzeroth-toy.so.1", text.c_str(), "1.2.3", "install Toy"};
  const std::string message = failure_of([&] { SharedLibrary library(broken); }).second;
  std::filesystem::remove_all(folder);
  CHECK_THAT(message, ContainsSubstring("invalid ELF header") || ContainsSubstring("file too short"));
  CHECK(message.find('\n') == std::string::npos);
}

TEST_CASE("versions compiled and loaded are reported", "[shared_library]") {
  const std::vector<LibraryReport> reports = report_cuda_libraries();
  REQUIRE(reports.size() == 3);
  CHECK(reports[0].name == "cuDNN");
  CHECK(reports[0].compiled == "9.1.2");
  CHECK(reports[0].loaded == "9.12.3");
  CHECK(reports[0].path == std::string(TOY_COMPLETE_FOLDER "/libcudnn.so.9"));
  CHECK(reports[0].missing.empty());
  CHECK(reports[1].name == "cuBLASLt");
  CHECK(reports[1].loaded.empty());  // the build says CUDA 99, of which no machine has a library
  CHECK_THAT(reports[1].missing, ContainsSubstring("cuBLASLt cannot be loaded: libcublasLt.so.99: "));
  CHECK_THAT(reports[1].missing, ContainsSubstring("; install cuBLAS of CUDA 99 ("));
}
