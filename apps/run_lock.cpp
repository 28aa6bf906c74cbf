#include "apps/run_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "kernels/core/error.h"

namespace zeroth::app {
namespace fs = std::filesystem;

namespace {

/// "NAME.tmp-4711", as replace_file() calls its temporary files.
bool is_temporary(const std::string& name) {
  const std::size_t at = name.rfind(".tmp-");
  return at != std::string::npos && at + 5 < name.size() &&
         std::all_of(name.begin() + static_cast<std::ptrdiff_t>(at) + 5, name.end(),
                     [](char c) { return c >= '0' && c <= '9'; });
}

void remove_temporaries(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;  // what cannot be removed only takes room
    if (is_temporary(entry->path().filename().string()) && entry->is_regular_file(ignored))
      fs::remove(entry->path(), ignored);
  }
}

}  // namespace

RunLock::RunLock(const fs::path& folder) {
  const fs::path file = folder / kFile;
  do {
    descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EINTR);
  if (descriptor_ < 0)
    fail(ErrorKind::runtime,
         fmt::format("cannot write the run folder {}: {}", folder.string(), std::strerror(errno)));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(descriptor_);
    fail(ErrorKind::runtime, fmt::format("another process is writing the run {}; wait for its end, or choose "
                                         "another folder with --out",
                                         folder.string()));
  }
  remove_temporaries(folder);
  remove_temporaries(folder / "checkpoints");
}

RunLock::~RunLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

RunLock::RunLock(RunLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

}  // namespace zeroth::app
