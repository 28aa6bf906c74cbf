#include "data/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "data/digest.h"
#include "data/files.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

constexpr std::size_t kDigits = 64;

struct Line {
  std::string digest, name;
};

std::string last_line(std::size_t files) {
  return fmt::format("# {} file{}", files, files == 1 ? "" : "s");
}

[[noreturn]] void refuse(const fs::path& path, std::size_t line) {
  fail(ErrorKind::data,
       fmt::format("{} is damaged, from line {} on; get the data set anew, or remove the list to go without",
                   path.string(), line));
}

bool is_digest(std::string_view text) {
  return text.size() == kDigits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

/// "DIGEST  NAME" of a file in the folder itself.
bool is_line(std::string_view text) {
  return text.size() > kDigits + 2 && is_digest(text.substr(0, kDigits)) && text.substr(kDigits, 2) == "  " &&
         text.find('/') == std::string_view::npos && text.find('\0') == std::string_view::npos;
}

std::vector<Line> read_lines(const fs::path& path) {
  const std::vector<std::uint8_t> bytes = read_file(path, 0, "");
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<Line> lines;
  for (std::size_t end = 0; (end = rest.find('\n')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
    const std::string_view text = rest.substr(0, end);
    if (text == last_line(lines.size()) && end + 1 == rest.size()) return lines;
    if (!is_line(text)) break;
    lines.push_back({std::string(text.substr(0, kDigits)), std::string(text.substr(kDigits + 2))});
  }
  refuse(path, lines.size() + 1);
}

}  // namespace

void write_manifest(const fs::path& folder, std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  std::string text;
  for (const std::string& name : names)
    text += fmt::format("{}  {}\n", digest_of_file(DigestKind::sha256, folder / name), name);
  text += last_line(names.size()) + '\n';
  const fs::path path = folder / kManifestName, part = folder / (std::string(kManifestName) + ".part");
  write_file(part, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  std::error_code error;
  fs::rename(part, path, error);
  if (error) fail(ErrorKind::data, fmt::format("cannot create {}: {}", path.string(), error.message()));
  sync_folder(folder);
}

bool check_manifest(const fs::path& folder) {
  const fs::path path = folder / kManifestName;
  if (!file_exists(path)) return false;
  for (const Line& line : read_lines(path)) {
    const fs::path file = folder / line.name;
    if (!file_exists(file))
      fail(ErrorKind::data, fmt::format("{} lacks {}, which {} lists; get the data set anew", folder.string(),
                                        line.name, kManifestName));
    if (const std::string digest = digest_of_file(DigestKind::sha256, file); digest != line.digest)
      fail(ErrorKind::data,
           fmt::format(
               "{} is damaged or was changed: its SHA-256 is {}, but {} lists {}; get the data set anew",
               file.string(), digest, kManifestName, line.digest));
  }
  return true;
}

}  // namespace zeroth
