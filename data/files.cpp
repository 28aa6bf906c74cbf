#include "data/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

std::string reason_of(int code) {
  return std::generic_category().message(code);
}

/// Data sets are hundreds of megabytes: a file beyond this is not one of theirs.
constexpr std::uint64_t kLargestFile = std::uint64_t{1} << 34;

}  // namespace

OpenFile::OpenFile(const fs::path& path, int flags) : path_(path) {
  do {
    descriptor_ = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EINTR);
  if (descriptor_ < 0) {
    const bool reads = (flags & O_ACCMODE) == O_RDONLY;
    fail(ErrorKind::data,
         fmt::format("cannot {} {}: {}", reads ? "read" : "write", path.string(), reason_of(errno)));
  }
}

OpenFile::~OpenFile() {
  ::close(descriptor_);
}

void OpenFile::fail_with_reason(const char* action) const {
  const ErrorKind kind = errno == EISDIR ? ErrorKind::data : ErrorKind::runtime;
  fail(kind, fmt::format("cannot {} {}: {}", action, path_.string(), reason_of(errno)));
}

std::uint64_t OpenFile::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail_with_reason("read the size of");
  if (S_ISDIR(status.st_mode)) {
    errno = EISDIR;
    fail_with_reason("read");
  }
  return static_cast<std::uint64_t>(status.st_size);
}

std::size_t OpenFile::read(std::span<std::uint8_t> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(descriptor_, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_with_reason("read");
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return done;
}

void OpenFile::write(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_with_reason("write");
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void OpenFile::truncate_to(std::uint64_t size) {
  if (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0) fail_with_reason("shorten");
}

void OpenFile::seek_to_end() {
  if (::lseek(descriptor_, 0, SEEK_END) < 0) fail_with_reason("seek in");
}

void OpenFile::sync() {
  // Some file systems (FUSE, network mounts) know no fsync; there is nothing to wait for then.
  int result = 0;
  do {
    result = ::fsync(descriptor_);
  } while (result != 0 && errno == EINTR);
  if (result != 0 && errno != EINVAL && errno != ENOTSUP) fail_with_reason("write");
}

bool OpenFile::lock() {
  // Where the file system knows no locks (some network mounts), nothing is claimed and nothing is lost.
  return ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

std::vector<std::uint8_t> read_file(const fs::path& path, std::uint64_t expected_bytes,
                                    const std::string& advice) {
  OpenFile file(path, O_RDONLY);
  const std::uint64_t size = file.size();
  const std::string mend = advice.empty() ? "" : "; " + advice;
  if (expected_bytes != 0 && size != expected_bytes) {
    fail(ErrorKind::data,
         fmt::format("{} has {} bytes, expected {}{}", path.string(), size, expected_bytes, mend));
  }
  if (size > kLargestFile) {
    fail(ErrorKind::data, fmt::format("{} has {} bytes: too large to be read{}", path.string(), size, mend));
  }
  std::vector<std::uint8_t> bytes(size);
  if (file.read(bytes) != size) {
    fail(ErrorKind::data, fmt::format("{} became shorter while it was read{}", path.string(), mend));
  }
  return bytes;
}

void write_file(const fs::path& path, std::span<const std::uint8_t> bytes) {
  OpenFile file(path, O_WRONLY | O_CREAT | O_TRUNC);
  file.write(bytes);
  file.sync();
}

bool file_exists(const fs::path& path) {
  std::error_code error;
  const bool exists = fs::exists(path, error);
  if (error) fail(ErrorKind::data, fmt::format("cannot look at {}: {}", path.string(), error.message()));
  return exists;
}

std::vector<std::string> files_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (entry->is_regular_file(error)) names.push_back(entry->path().filename().string());
  if (error) fail(ErrorKind::data, fmt::format("cannot read {}: {}", folder.string(), error.message()));
  return names;
}

void sync_folder(const fs::path& folder) {
  OpenFile(folder, O_RDONLY | O_DIRECTORY).sync();
}

FolderInMaking::FolderInMaking(fs::path destination) : destination_(std::move(destination)) {
  destination_ = fs::absolute(destination_).lexically_normal();
  if (!destination_.has_filename()) destination_ = destination_.parent_path();  // "folder/" names "folder"
  std::error_code error;
  fs::create_directories(destination_.parent_path(), error);
  if (error) {
    fail(ErrorKind::data,
         fmt::format("cannot create {}: {}", destination_.parent_path().string(), error.message()));
  }
  // Not mkdtemp(): its folder is for its owner only, and a data set may be read by whom the umask allows.
  for (int attempt = 0; attempt < 1000; ++attempt) {
    temporary_ = fmt::format("{}.tmp-{}-{}", destination_.string(), ::getpid(), attempt);
    if (::mkdir(temporary_.c_str(), 0777) == 0) return;
    if (errno != EEXIST) break;
  }
  fail(ErrorKind::data, fmt::format("cannot create {}: {}", temporary_.string(), reason_of(errno)));
}

FolderInMaking::~FolderInMaking() {
  if (published_) return;
  std::error_code ignored;  // nothing more can be done while another error is on its way
  fs::remove_all(temporary_, ignored);
}

void FolderInMaking::publish() {
  sync_folder(temporary_);
  // rename(2) replaces an empty folder and refuses any other, in one step.
  if (::rename(temporary_.c_str(), destination_.c_str()) != 0) {
    const bool taken = errno == ENOTEMPTY || errno == EEXIST;
    const std::string advice =
        taken ? "it exists and is not empty; remove it or choose another folder" : reason_of(errno);
    fail(taken ? ErrorKind::usage : ErrorKind::data,
         fmt::format("cannot create {}: {}", destination_.string(), advice));
  }
  published_ = true;
  sync_folder(destination_.parent_path());
}

}  // namespace zeroth
