#include "data/archive_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "data/files.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

constexpr std::size_t kPiece = 1 << 18;
constexpr std::uint64_t kLargestSmallMember = 1 << 20;
constexpr int kMostMembers = 1000;

/// Whether a member of this name would lie outside the folder that an archive is unpacked into.
bool leads_outside(std::string_view name) {
  if (name.starts_with('/')) return true;
  while (!name.empty()) {
    const std::size_t end = std::min(name.find('/'), name.size());
    if (name.substr(0, end) == "..") return true;
    name.remove_prefix(std::min(end + 1, name.size()));
  }
  return false;
}

const char* forbidden_kind(struct archive_entry* entry) {
  if (archive_entry_hardlink(entry) != nullptr) return "a link to another file";
  switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
    case AE_IFDIR:
      return nullptr;
    case AE_IFLNK:
      return "a symbolic link";
    default:
      return "neither a file nor a folder";
  }
}

}  // namespace

struct ArchiveReader::State {
  fs::path path;
  std::string prefix;
  std::map<std::string, ExpectedMember> members;
  fs::path folder;
  std::unique_ptr<struct archive, decltype(&archive_read_free)> reader{archive_read_new(),
                                                                       &archive_read_free};
  std::set<std::string> found;
  int seen = 0;
  std::uint64_t done = 0;

  /// The member being written.
  std::optional<OpenFile> file;
  std::uint64_t bytes = 0, written = 0;
  std::vector<std::uint8_t> piece = std::vector<std::uint8_t>(kPiece);

  [[noreturn]] void fail_damaged() const {
    const char* const reason = archive_error_string(reader.get());
    fail(ErrorKind::data, fmt::format("{} is truncated or damaged: {}; remove it and fetch it again",
                                      path.string(), reason == nullptr ? "unreadable" : reason));
  }
  [[noreturn]] void fail_other(const std::string& what) const {
    fail(ErrorKind::data, fmt::format("{} {}; this is another archive", path.string(), what));
  }

  void open() {
    if (reader == nullptr) fail(ErrorKind::runtime, "libarchive could not be started");
    if (archive_read_support_filter_gzip(reader.get()) < ARCHIVE_WARN ||
        archive_read_support_format_tar(reader.get()) != ARCHIVE_OK ||
        archive_read_open_filename(reader.get(), path.c_str(), kPiece) != ARCHIVE_OK) {
      fail_damaged();
    }
  }

  /// Looks at a member; opens its file where it is an expected one.
  void begin(struct archive_entry* entry) {
    const char* const raw = archive_entry_pathname(entry);
    std::string name = raw == nullptr ? "" : raw;
    if (leads_outside(name)) fail_other(fmt::format("holds {}, which leads out of its folder", name));
    if (const char* kind = forbidden_kind(entry)) fail_other(fmt::format("holds {}, {}", name, kind));
    if (++seen > kMostMembers) fail_other(fmt::format("holds more than {} files", kMostMembers));
    const auto size = static_cast<std::uint64_t>(archive_entry_size(entry));
    if (name.starts_with("./")) name.erase(0, 2);
    const bool inside = name.starts_with(prefix + "/");
    const auto expected = members.find(inside ? name.substr(prefix.size() + 1) : "");
    const std::uint64_t wanted = expected == members.end() ? 0 : expected->second.bytes;
    if (wanted == 0 ? size > kLargestSmallMember : size != wanted) {
      fail_other(wanted == 0
                     ? fmt::format("holds {} of {} bytes, more than {}", name, size, kLargestSmallMember)
                     : fmt::format("holds {} of {} bytes, expected {} bytes", name, size, wanted));
    }
    if (expected == members.end()) return;
    if (archive_entry_filetype(entry) != AE_IFREG) fail_other(fmt::format("holds {} as a folder", name));
    if (!found.insert(expected->first).second) fail_other(fmt::format("holds {} twice", name));
    file.emplace(folder / expected->first, O_WRONLY | O_CREAT | O_EXCL);
    bytes = size;
    written = 0;
  }

  void write_piece() {
    const la_ssize_t count = archive_read_data(reader.get(), piece.data(), piece.size());
    if (count < 0) fail_damaged();
    if (count > 0) {
      written += static_cast<std::uint64_t>(count);
      if (written > bytes) fail_damaged();
      file->write({piece.data(), static_cast<std::size_t>(count)});
      done += static_cast<std::uint64_t>(count);
      return;
    }
    if (written != bytes) fail_damaged();
    file->sync();
    file.reset();
  }

  void check_complete() const {
    for (const auto& [name, member] : members) {
      if (member.required && !found.contains(name)) fail_other(fmt::format("lacks {}/{}", prefix, name));
    }
  }
};

ArchiveReader::ArchiveReader(fs::path archive, std::string prefix,
                             std::map<std::string, ExpectedMember> members, fs::path folder)
    : state_(std::make_unique<State>()) {
  state_->path = std::move(archive);
  state_->prefix = std::move(prefix);
  state_->members = std::move(members);
  state_->folder = std::move(folder);
  check_is_gzip(state_->path);
  state_->open();
}

ArchiveReader::~ArchiveReader() = default;

bool ArchiveReader::step() {
  if (state_->file) {
    state_->write_piece();
    return true;
  }
  struct archive_entry* entry = nullptr;
  const int status = archive_read_next_header(state_->reader.get(), &entry);
  if (status == ARCHIVE_EOF) {
    state_->check_complete();
    return false;
  }
  if (status < ARCHIVE_WARN || entry == nullptr) state_->fail_damaged();
  state_->begin(entry);
  return true;
}

std::uint64_t ArchiveReader::done() const {
  return state_->done;
}

}  // namespace zeroth
