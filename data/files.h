#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace zeroth {

/// An open file descriptor that closes itself.
class OpenFile {
 public:
  /// open(2) with O_CLOEXEC. Errors: data, "cannot read PATH: reason" or "cannot write PATH: reason".
  OpenFile(const std::filesystem::path& path, int flags);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  std::uint64_t size() const;
  /// Reads until `bytes` is full or the file ends; returns how many came.
  std::size_t read(std::span<std::uint8_t> bytes);
  /// Writes everything. Errors: runtime, naming the file and the reason (a full disk, a quota).
  void write(std::span<const std::uint8_t> bytes);
  void truncate_to(std::uint64_t size);
  void seek_to_end();
  /// Waits until the bytes are on the disk.
  void sync();
  /// Claims the file against other processes that do the same; false where one already has it.
  bool lock();

 private:
  [[noreturn]] void fail_with_reason(const char* action) const;
  std::filesystem::path path_;
  int descriptor_;
};

/// The whole file, which must have exactly `expected_bytes` where that is not 0. Errors: data, naming the
/// file, its size and the size expected, and `advice`: how to mend it.
std::vector<std::uint8_t> read_file(const std::filesystem::path& path, std::uint64_t expected_bytes,
                                    const std::string& advice);

/// Creates or replaces a file and syncs it. Errors: data when it cannot be created, runtime when the disk
/// fills.
void write_file(const std::filesystem::path& path, std::span<const std::uint8_t> bytes);

/// Whether there is something of this name. Errors: data, where that cannot be told (no permission).
bool file_exists(const std::filesystem::path& path);

/// The names of the plain files directly in a folder. Errors: data.
std::vector<std::string> files_in(const std::filesystem::path& folder);

/// Makes the entries of a folder durable.
void sync_folder(const std::filesystem::path& folder);

/// A folder that appears under its final name only when complete: it is filled under a temporary name beside
/// it and renamed at the end. Whatever was written is removed if that end is not reached.
class FolderInMaking {
 public:
  /// Creates the parent folders and an empty temporary folder. Errors: data.
  explicit FolderInMaking(std::filesystem::path destination);
  ~FolderInMaking();
  FolderInMaking(const FolderInMaking&) = delete;
  FolderInMaking& operator=(const FolderInMaking&) = delete;

  const std::filesystem::path& temporary() const { return temporary_; }
  /// Syncs and renames. An existing destination must be an empty folder. Errors: data.
  void publish();

 private:
  std::filesystem::path destination_, temporary_;
  bool published_ = false;
};

}  // namespace zeroth
