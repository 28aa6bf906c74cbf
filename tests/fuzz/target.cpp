#include "tests/fuzz/target.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string_view>

#include "kernels/core/error.h"

namespace zeroth::fuzz {
namespace fs = std::filesystem;

namespace {

struct ScratchFolder {
  fs::path path = fs::temp_directory_path() / ("zeroth-fuzz-" + std::to_string(::getpid()));
  ScratchFolder() { fs::create_directories(path); }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

void check_message(std::string_view message) {
  const bool one_line = !message.empty() && std::all_of(message.begin(), message.end(), [](unsigned char c) {
    return c >= 0x20 && c != 0x7f;
  });
  expect(one_line, "a message that is no line: " + std::string(message));
}

}  // namespace

void expect(bool condition, const std::string& otherwise) {
  if (condition) return;
  std::fprintf(stderr, "fuzz target: %s\n", otherwise.c_str());
  std::abort();
}

void expect_answer(const std::function<void()>& parser) {
  try {
    parser();
  } catch (const Error& error) {
    expect(error.kind() == ErrorKind::usage || error.kind() == ErrorKind::data,
           std::string("an error that does not blame the input: ") + error.what());
    check_message(error.what());
  } catch (const std::exception& error) {
    expect(false, std::string("another exception: ") + error.what());
  }
}

const fs::path& scratch() {
  static const ScratchFolder folder;
  return folder.path;
}

void write_file(const fs::path& path, Bytes bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  expect(file.good(), "cannot write " + path.string());
}

Bytes take_part(Bytes& input) {
  if (input.size() < 2) return {};
  const std::size_t length = std::min<std::size_t>(input[0] | input[1] << 8, input.size() - 2);
  const Bytes part = input.subspan(2, length);
  input = input.subspan(2 + length);
  return part;
}

std::string as_text(Bytes bytes) {
  return {bytes.begin(), bytes.end()};
}

}  // namespace zeroth::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  zeroth::fuzz::fuzz({bytes, size});
  return 0;
}
