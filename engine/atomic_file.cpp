#include "engine/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/write_all.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

/// Throws for the system call that has just failed.
[[noreturn]] void fail_with_errno(const char* action, const fs::path& path) {
  fail(ErrorKind::runtime, fmt::format("cannot {} {}: {}", action, path.string(), std::strerror(errno)));
}

/// Some file systems wait in open() and fsync(), and a signal ends the wait.
template <class Call>
int without_interruption(Call&& call) {
  int result = 0;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

int open_file(const fs::path& path, int flags) {
  return without_interruption([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); });
}

int sync(int descriptor) {
  return without_interruption([&] { return ::fsync(descriptor); });
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return value_; }
  /// An interrupted close(2) has closed on Linux, and what was synced is safe.
  int close() { return ::close(std::exchange(value_, -1)) != 0 && errno != EINTR ? -1 : 0; }

 private:
  int value_;
};

/// Removes the temporary file unless it has been renamed.
struct Removal {
  fs::path path;
  bool active = true;
  ~Removal() {
    if (active) ::unlink(path.c_str());
  }
};

void sync_folder_of(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const Descriptor handle(open_file(folder, O_RDONLY | O_DIRECTORY));
  // Some file systems cannot sync a folder and say EINVAL; there is nothing better to do on them.
  if (handle.get() < 0 || (sync(handle.get()) != 0 && errno != EINVAL)) fail_with_errno("sync", folder);
}

}  // namespace

void replace_file(const fs::path& path, std::span<const std::span<const std::byte>> pieces) {
  Removal temporary{fs::path(path).concat(fmt::format(".tmp-{}", ::getpid()))};
  Descriptor file(open_file(temporary.path, O_WRONLY | O_CREAT | O_TRUNC));
  if (file.get() < 0) {
    temporary.active = false;
    fail_with_errno("create", path);
  }
  for (const std::span<const std::byte> piece : pieces)
    if (!write_all(file.get(), {reinterpret_cast<const char*>(piece.data()), piece.size()}))
      fail_with_errno("write", path);
  if (sync(file.get()) != 0) fail_with_errno("sync", path);
  if (file.close() != 0) fail_with_errno("close", path);
  if (::rename(temporary.path.c_str(), path.c_str()) != 0) fail_with_errno("replace", path);
  temporary.active = false;
  sync_folder_of(path);
}

void replace_file(const fs::path& path, std::string_view text) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(text));
  replace_file(path, std::span(&bytes, 1));
}

void append_file(const std::filesystem::path& path, std::string_view text) {
  int file = -1;
  do {
    file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  } while (file < 0 && errno == EINTR);
  int error = file < 0 ? errno : 0;
  if (file >= 0) {
    const off_t before = ::lseek(file, 0, SEEK_END);
    ssize_t written = 0;
    do {
      errno = ENOSPC;  // a short write sets none
      written = ::write(file, text.data(), text.size());
    } while (written < 0 && errno == EINTR);
    if (written != static_cast<ssize_t>(text.size())) {
      error = errno;
      if (written > 0 && ::ftruncate(file, before) != 0) error = errno;
    }
    ::close(file);
  }
  if (error != 0)
    fail(ErrorKind::runtime, fmt::format("cannot write {}: {}", path.string(), std::strerror(error)));
}

}  // namespace zeroth
