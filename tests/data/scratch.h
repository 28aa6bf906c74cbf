#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/cifar.h"
#include "kernels/core/error.h"
#include "tests/catch.h"

namespace zeroth::test {

/// A folder of its own for one test, removed at its end.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// Sets or (with nothing) unsets an environment variable until the end of the scope.
class EnvironmentGuard {
 public:
  EnvironmentGuard(const char* name, std::optional<std::string> value);
  ~EnvironmentGuard();
  EnvironmentGuard(const EnvironmentGuard&) = delete;
  EnvironmentGuard& operator=(const EnvironmentGuard&) = delete;

 private:
  std::string name_;
  std::optional<std::string> before_;
};

void write_text(const std::filesystem::path& path, const std::string& text);
std::string read_text(const std::filesystem::path& path);

/// `records` records of a layout with `label_bytes` label bytes: the last label byte is record mod classes,
/// pixel j of record i is (i + 7 j) mod 251.
std::string make_records(std::int64_t records, int label_bytes, int classes);

/// The message of the zeroth::Error that `body` throws, after a check of its kind; "" (and a failed check)
/// when it throws none. Every message must be one line.
template <class Body>
std::string message_of(ErrorKind kind, Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(static_cast<int>(error.kind()) == static_cast<int>(kind));
    CHECK(message.find('\n') == std::string::npos);
    return message;
  }
  FAIL_CHECK("no error was thrown");
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  UNSCOPED_INFO("\"" << text << "\" lacks \"" << part << "\"");
  return false;
}

}  // namespace zeroth::test
