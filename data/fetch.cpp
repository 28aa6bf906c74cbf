#include "data/fetch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "data/archive.h"
#include "data/digest.h"
#include "data/download.h"
#include "data/files.h"
#include "data/manifest.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

constexpr const char* kCifarUrl = "https://www.cs.toronto.edu/~kriz/";

std::uint64_t bytes_of(const CifarFile& file, const CifarLayout& layout) {
  return static_cast<std::uint64_t>(file.records * layout.record_bytes());
}

std::vector<CifarFile> record_files(const CifarLayout& layout) {
  std::vector<CifarFile> files = layout.train;
  files.push_back(layout.test);
  return files;
}

PublishedFile published_archive(const DatasetArchive& archive) {
  return {archive.file, archive.bytes, DigestKind::sha256, archive.sha256};
}

/// Fails unless the file is the published one, byte for byte.
void check_published(const fs::path& path, const PublishedFile& file, const FetchOptions& options) {
  if (file.name.ends_with(".gz")) check_is_gzip(path);
  const std::uint64_t size = OpenFile(path, O_RDONLY).size();
  if (size != file.bytes) {
    fail(ErrorKind::data,
         fmt::format("{} has {} bytes, but {} has {}: it is {}", path.string(), size, file.name, file.bytes,
                     size < file.bytes ? "truncated" : "another file"));
  }
  const std::string found = digest_of_file(file.digest, path, [&](std::uint64_t done) {
    return !options.progress || options.progress({FetchPhase::check, done, size});
  });
  if (found != file.checksum) {
    fail(ErrorKind::data, fmt::format("{} has {} {}, but {} has {}: it is damaged or another file",
                                      path.string(), name_of(file.digest), found, file.name, file.checksum));
  }
}

/// Downloads and checks; returns where the file lies: `folder`/NAME.part. What turns out to be something else
/// is removed, so that the next attempt does not continue it.
fs::path download_checked(const PublishedFile& file, const std::string& base_url, const fs::path& folder,
                          const FetchOptions& options) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(ErrorKind::data, fmt::format("cannot create {}: {}", folder.string(), error.message()));
  const fs::path part = folder / (file.name + ".part");
  DownloadOptions how;
  how.expected_bytes = file.bytes;
  how.connect_seconds = options.connect_seconds;
  how.stall_seconds = options.stall_seconds;
  how.offline_advice = fmt::format("; {} brought here by other means is taken with --from",
                                   file.name.ends_with(".tar.gz") ? "an archive" : "a folder of the files");
  if (options.progress) {
    how.progress = [&](std::uint64_t done) {
      return options.progress({FetchPhase::download, done, file.bytes});
    };
  }
  const std::string& base = options.base_url.empty() ? base_url : options.base_url;
  const std::string url = base + (base.ends_with('/') ? "" : "/") + file.name;
  try {
    download(url, part, how);
  } catch (const Error&) {
    if (fs::file_size(part, error) == 0) fs::remove(part, error);  // nothing to continue
    throw;
  }
  try {
    check_published(part, file, options);
  } catch (const Error& wrong) {
    if (wrong.kind() != ErrorKind::data) throw;
    fs::remove(part, error);
    fail(ErrorKind::data, fmt::format("{} did not send {}: {} (removed)", url, file.name, wrong.what()));
  }
  return part;
}

/// Copies a checked file to a temporary name in the folder.
fs::path copy_checked(const PublishedFile& file, const fs::path& folder, const FetchOptions& options) {
  const fs::path source = options.from / file.name, part = folder / (file.name + ".part");
  check_published(source, file, options);
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error) fs::copy_file(source, part, fs::copy_options::overwrite_existing, error);
  if (error) {
    fail(ErrorKind::runtime,
         fmt::format("cannot copy {} to {}: {}", source.string(), part.string(), error.message()));
  }
  OpenFile(part, O_RDWR).sync();
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
  write_manifest(making.temporary(), files_in(making.temporary()));
  making.publish();
}

/// Lists the files, which are there and checked. A set that was there already may lie where nothing can be
/// written.
void leave_manifest(const FetchResult& result, const std::vector<std::string>& names) {
  if (result.was_there && file_exists(result.folder / kManifestName)) return;
  try {
    write_manifest(result.folder, names);
  } catch (const Error&) {
    if (!result.was_there) throw;
  }
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
  fail(ErrorKind::usage,
       fmt::format("no data set '{}' to fetch: known are {}", name, fmt::join(fetchable_names(), ", ")));
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

std::vector<std::string> fetchable_names() {
  std::vector<std::string> names = {"cifar10", "cifar100"};
  for (const PublishedSet& set : published_sets()) names.push_back(set.name);
  return names;
}

std::string official_base_url(const std::string& name) {
  if (const PublishedSet* const set = published_set(name)) return set->base_url;
  static_cast<void>(official_archive(name));
  return kCifarUrl;
}

FetchResult fetch(const std::string& name, const fs::path& destination, const FetchOptions& options) {
  if (const PublishedSet* const set = published_set(name)) return fetch(*set, destination, options);
  return fetch(official_archive(name), destination, options);
}

FetchResult fetch(const DatasetArchive& archive, const fs::path& destination, const FetchOptions& options) {
  const fs::path folder = destination / archive.layout.folder;
  if (is_complete(folder, archive)) {
    std::vector<std::string> names;
    for (const CifarFile& record_file : record_files(archive.layout)) names.push_back(record_file.name);
    leave_manifest({folder, true}, names);
    return {folder, true};
  }
  const PublishedFile file = published_archive(archive);
  if (!options.from.empty()) {
    check_published(options.from, file, options);
    unpack(options.from, archive, folder, options);
    return {folder, false};
  }
  const fs::path part = download_checked(file, kCifarUrl, destination, options);
  unpack(part, archive, folder, options);
  std::error_code ignored;  // the set is complete; a left-over archive only takes room
  fs::remove(part, ignored);
  return {folder, false};
}

FetchResult fetch(const PublishedSet& set, const fs::path& destination, const FetchOptions& options) {
  FetchResult result{destination / set.folder, true};
  for (const PublishedFile& file : set.files) {
    const fs::path path = result.folder / file.name;
    if (file_exists(path)) {
      if (is_published(path, file)) continue;
      fail(ErrorKind::data,
           fmt::format("{} exists, but is not the official file; remove it or choose another destination",
                       path.string()));
    }
    const fs::path part = options.from.empty() ? download_checked(file, set.base_url, result.folder, options)
                                               : copy_checked(file, result.folder, options);
    std::error_code error;
    fs::rename(part, path, error);
    if (error) fail(ErrorKind::data, fmt::format("cannot create {}: {}", path.string(), error.message()));
    result.was_there = false;
  }
  std::vector<std::string> names;
  for (const PublishedFile& file : set.files) names.push_back(file.name);
  leave_manifest(result, names);
  return result;
}

}  // namespace zeroth
