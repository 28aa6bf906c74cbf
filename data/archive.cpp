#include "data/archive.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <vector>

#include "data/archive_reader.h"
#include "data/child_process.h"
#include "data/files.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

/// What the child says of each step.
struct Progress {
  std::uint64_t done;
  bool more;
};

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
  auto reader =
      std::make_shared<std::unique_ptr<ArchiveReader>>();  // the child's, made at the first question
  ChildProcess child([=](std::span<const std::uint8_t>) {
    if (*reader == nullptr) *reader = std::make_unique<ArchiveReader>(path, prefix, members, folder);
    const bool more = (*reader)->step();
    const Progress now{(*reader)->done(), more};
    ChildProcess::Bytes answer(sizeof now);
    std::memcpy(answer.data(), &now, sizeof now);
    return answer;
  });
  try {
    for (Progress now{0, true}; now.more;) {
      const ChildProcess::Bytes answer = child.ask({});
      if (answer.size() != sizeof now) throw ChildFailed("gave no progress");
      std::memcpy(&now, answer.data(), sizeof now);
      if (progress && !progress(now.done)) fail(ErrorKind::runtime, "unpacking was stopped");
    }
  } catch (const ChildFailed& failure) {
    fail(ErrorKind::data, fmt::format("{} cannot be unpacked: libarchive {}; remove it and fetch it again",
                                      path.string(), failure.what()));
  }
}

}  // namespace zeroth
