#include "tests/data/scratch.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace zeroth::test {
namespace fs = std::filesystem;

ScratchFolder::ScratchFolder() {
  std::string pattern = (fs::temp_directory_path() / "zeroth-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) fail(ErrorKind::runtime, "no temporary folder for a test");
  path_ = pattern;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

EnvironmentGuard::EnvironmentGuard(const char* name, std::optional<std::string> value) : name_(name) {
  if (const char* const before = std::getenv(name)) before_ = before;
  value ? ::setenv(name, value->c_str(), 1) : ::unsetenv(name);
}

EnvironmentGuard::~EnvironmentGuard() {
  before_ ? ::setenv(name_.c_str(), before_->c_str(), 1) : ::unsetenv(name_.c_str());
}

void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream stream(path, std::ios::binary);
  stream << text;
}

std::string read_text(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::string make_records(std::int64_t records, int label_bytes, int classes) {
  std::string bytes;
  for (std::int64_t i = 0; i < records; ++i) {
    // Whatever stands before the last label byte (CIFAR-100's coarse label) must not be taken for the label.
    if (label_bytes == 2) bytes += static_cast<char>(19);
    bytes += static_cast<char>(i % classes);
    for (int j = 0; j < 3072; ++j) bytes += static_cast<char>((i + 7 * j) % 251);
  }
  return bytes;
}

}  // namespace zeroth::test
