#include "data/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <memory>
#include <set>
#include <vector>

#include "data/files.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

constexpr std::size_t kPiece = 1 << 18;
constexpr std::uint64_t kLargestSmallMember = 1 << 20;

using Reader = std::unique_ptr<struct archive, decltype(&archive_read_free)>;

[[noreturn]] void fail_damaged(const fs::path& path, struct archive* reader) {
  const char* const reason = archive_error_string(reader);
  fail(ErrorKind::data, fmt::format("{} is truncated or damaged: {}; remove it and fetch it again",
                                    path.string(), reason == nullptr ? "unreadable" : reason));
}

Reader open_reader(const fs::path& path) {
  Reader reader(archive_read_new(), &archive_read_free);
  if (reader == nullptr) fail(ErrorKind::runtime, "libarchive could not be started");
  if (archive_read_support_filter_gzip(reader.get()) < ARCHIVE_WARN ||
      archive_read_support_format_tar(reader.get()) != ARCHIVE_OK ||
      archive_read_open_filename(reader.get(), path.c_str(), kPiece) != ARCHIVE_OK) {
    fail_damaged(path, reader.get());
  }
  return reader;
}

/// Writes the member the reader stands at; `done` counts on over all members.
void unpack_one(const fs::path& path, struct archive* reader, const fs::path& target, std::uint64_t bytes,
                std::uint64_t& done, const std::function<bool(std::uint64_t)>& progress) {
  OpenFile file(target, O_WRONLY | O_CREAT | O_EXCL);
  std::vector<std::uint8_t> piece(kPiece);
  std::uint64_t written = 0;
  for (;;) {
    const la_ssize_t count = archive_read_data(reader, piece.data(), piece.size());
    if (count < 0) fail_damaged(path, reader);
    if (count == 0) break;
    file.write({piece.data(), static_cast<std::size_t>(count)});
    written += static_cast<std::uint64_t>(count);
    done += static_cast<std::uint64_t>(count);
    if (progress && !progress(done)) fail(ErrorKind::runtime, "unpacking was stopped");
  }
  if (written != bytes) fail_damaged(path, reader);
  file.sync();
}

}  // namespace

void check_is_gzip(const fs::path& path) {
  std::vector<std::uint8_t> start(512);
  start.resize(OpenFile(path, O_RDONLY).read(start));
  if (start.size() >= 2 && start[0] == 0x1f && start[1] == 0x8b) return;
  std::string text(start.begin(), start.end());
  for (char& letter : text) letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
  const bool page =
      text.find("<!doctype html") != std::string::npos || text.find("<html") != std::string::npos;
  fail(ErrorKind::data, fmt::format("{} is {}, not the archive; {}", path.string(),
                                    start.empty() ? "empty"
                                    : page        ? "an HTML page"
                                                  : "no gzip file",
                                    page ? "a login page or a proxy may have answered instead of the server"
                                         : "remove it and fetch it again"));
}

void unpack_members(const fs::path& path, const std::string& prefix,
                    const std::map<std::string, ExpectedMember>& members, const fs::path& folder,
                    const std::function<bool(std::uint64_t)>& progress) {
  check_is_gzip(path);
  const Reader reader = open_reader(path);
  std::set<std::string> found;
  std::uint64_t done = 0;
  for (;;) {
    struct archive_entry* entry = nullptr;
    const int status = archive_read_next_header(reader.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status < ARCHIVE_WARN || entry == nullptr) fail_damaged(path, reader.get());
    const char* const raw = archive_entry_pathname(entry);
    std::string name = raw == nullptr ? "" : raw;
    if (name.starts_with("./")) name.erase(0, 2);
    if (!name.starts_with(prefix + "/")) continue;
    name.erase(0, prefix.size() + 1);
    const auto expected = members.find(name);
    if (expected == members.end()) continue;
    const auto bytes = static_cast<std::uint64_t>(archive_entry_size(entry));
    const bool right_size =
        expected->second.bytes == 0 ? bytes <= kLargestSmallMember : bytes == expected->second.bytes;
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) != nullptr ||
        !right_size) {
      fail(ErrorKind::data, fmt::format("{}: {} is no plain file of {} bytes; this is another archive",
                                        path.string(), name, expected->second.bytes));
    }
    if (!found.insert(name).second) {
      fail(ErrorKind::data, fmt::format("{} holds {} twice; this is another archive", path.string(), name));
    }
    unpack_one(path, reader.get(), folder / name, bytes, done, progress);
  }
  for (const auto& [name, member] : members) {
    if (member.required && !found.contains(name)) {
      fail(ErrorKind::data,
           fmt::format("{} lacks {}/{}; this is another archive", path.string(), prefix, name));
    }
  }
}

}  // namespace zeroth
