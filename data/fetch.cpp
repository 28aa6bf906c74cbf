#include "data/fetch.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "data/archive.h"
#include "data/digest.h"
#include "data/download.h"
#include "data/files.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

std::uint64_t bytes_of(const CifarFile& file, const CifarLayout& layout) {
  return static_cast<std::uint64_t>(file.records * layout.record_bytes());
}

std::vector<CifarFile> record_files(const CifarLayout& layout) {
  std::vector<CifarFile> files = layout.train;
  files.push_back(layout.test);
  return files;
}

/// The SHA-256 of a file, with progress.
std::string sha256_of_file(const fs::path& path, std::uint64_t total, const FetchOptions& options) {
  OpenFile file(path, O_RDONLY);
  Sha256 digest;
  std::vector<std::uint8_t> piece(1 << 20);
  std::uint64_t done = 0;
  while (const std::size_t count = file.read(piece)) {
    digest.update({piece.data(), count});
    done += count;
    if (options.progress && !options.progress({FetchPhase::check, done, total})) {
      fail(ErrorKind::runtime, "the check was stopped; run the same command again");
    }
  }
  return digest.hex();
}

/// Fails unless the file is the archive, byte for byte.
void check_archive(const fs::path& path, const DatasetArchive& archive, const FetchOptions& options) {
  check_is_gzip(path);
  const std::uint64_t size = OpenFile(path, O_RDONLY).size();
  if (size != archive.bytes) {
    fail(ErrorKind::data,
         fmt::format("{} has {} bytes, but {} has {}: it is {}", path.string(), size, archive.file,
                     archive.bytes, size < archive.bytes ? "truncated" : "another file"));
  }
  const std::string found = sha256_of_file(path, size, options);
  if (found != archive.sha256) {
    fail(ErrorKind::data, fmt::format("{} has SHA-256 {}, but {} has {}: it is damaged or another file",
                                      path.string(), found, archive.file, archive.sha256));
  }
}

/// Downloads and checks; returns where the archive lies. What turns out to be something else is removed, so
/// that the next attempt does not continue it.
fs::path download_archive(const DatasetArchive& archive, const fs::path& destination,
                          const FetchOptions& options) {
  std::error_code error;
  fs::create_directories(destination, error);
  if (error)
    fail(ErrorKind::data, fmt::format("cannot create {}: {}", destination.string(), error.message()));
  const fs::path part = destination / (archive.file + ".part");
  DownloadOptions how;
  how.expected_bytes = archive.bytes;
  how.connect_seconds = options.connect_seconds;
  how.stall_seconds = options.stall_seconds;
  how.offline_advice =
      fmt::format("; an archive brought here by other means is taken with --from {}", archive.file);
  if (options.progress) {
    how.progress = [&](std::uint64_t done) {
      return options.progress({FetchPhase::download, done, archive.bytes});
    };
  }
  const std::string url = options.base_url + (options.base_url.ends_with('/') ? "" : "/") + archive.file;
  try {
    download(url, part, how);
  } catch (const Error&) {
    if (fs::file_size(part, error) == 0) fs::remove(part, error);  // nothing to continue
    throw;
  }
  try {
    check_archive(part, archive, options);
  } catch (const Error& wrong) {
    if (wrong.kind() != ErrorKind::data) throw;
    fs::remove(part, error);
    fail(ErrorKind::data, fmt::format("{} did not send the archive: {} (removed)", url, wrong.what()));
  }
  return part;
}

void unpack(const fs::path& file, const DatasetArchive& archive, const fs::path& folder,
            const FetchOptions& options) {
  std::map<std::string, ExpectedMember> members = {
      {archive.layout.names_file, {}}, {"coarse_label_names.txt", {0, false}}, {"readme.html", {0, false}}};
  std::uint64_t total = 0;
  for (const CifarFile& record_file : record_files(archive.layout)) {
    const std::uint64_t bytes = bytes_of(record_file, archive.layout);
    members[record_file.name] = {bytes, true};
    total += bytes;
  }
  FolderInMaking making(folder);
  unpack_members(file, archive.layout.folder, members, making.temporary(), [&](std::uint64_t done) {
    return !options.progress || options.progress({FetchPhase::unpack, std::min(done, total), total});
  });
  making.publish();
}

/// Whether the folder is already what a fetch would make. A folder that is there but different is an error:
/// it is not ours to replace.
bool is_complete(const fs::path& folder, const DatasetArchive& archive) {
  if (!file_exists(folder)) return false;
  std::error_code error;
  if (fs::is_empty(folder, error)) return false;
  for (const CifarFile& file : record_files(archive.layout)) {
    const fs::path path = folder / file.name;
    const bool same = file_exists(path) && sha256_of(read_file(path, 0, "")) == file.sha256;
    if (!same) {
      fail(ErrorKind::data,
           fmt::format(
               "{} exists, but {} is not the official file; remove the folder or choose another destination",
               folder.string(), file.name));
    }
  }
  return true;
}

}  // namespace

const DatasetArchive& official_archive(const std::string& name) {
  // Sizes and checksums of https://www.cs.toronto.edu/~kriz/cifar.html's binary versions. That page gives the
  // MD5 sums c32a1d4ab5d03f1284b67883e8d87530 and 03b5dce01913d631647c71ecec9e9cb8; the SHA-256 sums of the
  // same files are the ones torchvision-ruby, MLDatasets.jl (CIFAR-100) and GoMLX verify.
  static const DatasetArchive cifar10 = {"cifar-10-binary.tar.gz", 170'052'171,
                                         "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                                         cifar_layout("cifar10")};
  static const DatasetArchive cifar100 = {"cifar-100-binary.tar.gz", 168'513'733,
                                          "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
                                          cifar_layout("cifar100")};
  if (name == "cifar10") return cifar10;
  if (name == "cifar100") return cifar100;
  fail(ErrorKind::usage, fmt::format("no data set '{}' to fetch: known are cifar10 and cifar100", name));
}

const char* name_of(FetchPhase phase) {
  switch (phase) {
    case FetchPhase::download:
      return "download";
    case FetchPhase::check:
      return "check";
    case FetchPhase::unpack:
      return "unpack";
  }
  return "?";
}

FetchResult fetch(const std::string& name, const fs::path& destination, const FetchOptions& options) {
  return fetch(official_archive(name), destination, options);
}

FetchResult fetch(const DatasetArchive& archive, const fs::path& destination, const FetchOptions& options) {
  const fs::path folder = destination / archive.layout.folder;
  if (is_complete(folder, archive)) return {folder, true};
  if (!options.from_file.empty()) {
    check_archive(options.from_file, archive, options);
    unpack(options.from_file, archive, folder, options);
    return {folder, false};
  }
  const fs::path part = download_archive(archive, destination, options);
  unpack(part, archive, folder, options);
  std::error_code ignored;  // the set is complete; a left-over archive only takes room
  fs::remove(part, ignored);
  return {folder, false};
}

}  // namespace zeroth
