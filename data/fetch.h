#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/cifar.h"
#include "data/published.h"

namespace zeroth {

/// An archive as its authors publish it.
struct DatasetArchive {
  std::string file;  ///< last part of its address
  std::uint64_t bytes;
  std::string sha256;
  CifarLayout layout;  ///< what it unpacks to
};

/// The archive of "cifar10" or "cifar100". Errors: usage, for another name.
const DatasetArchive& official_archive(const std::string& name);

/// The names fetch() knows.
std::vector<std::string> fetchable_names();

/// Where the official files of a set lie; a file's name is appended to it. Errors: usage, for another name.
std::string official_base_url(const std::string& name);

enum class FetchPhase { download, check, unpack };
const char* name_of(FetchPhase phase);  // "download", "check", "unpack"

/// How far one phase is, in bytes.
struct FetchProgress {
  FetchPhase phase;
  std::uint64_t done, total;
};

struct FetchOptions {
  /// Another place that serves the same files: a mirror, a test. Must be http:// or https://. Empty: the
  /// official place.
  std::string base_url;
  /// An archive that is already on this machine, or the folder of a set's files where there is no archive;
  /// nothing is downloaded then, and it is left as it is.
  std::filesystem::path from;
  int connect_seconds = 30;
  int stall_seconds = 60;
  /// Called often, from the calling thread; returning false stops, to be continued by the next call.
  std::function<bool(const FetchProgress&)> progress;
};

struct FetchResult {
  std::filesystem::path folder;  ///< holds the set's files
  bool was_there = false;        ///< they were complete already; nothing was done
};

/// Gets a data set. CIFAR: downloads the archive to `destination`/FILE.part (continuing an interrupted one),
/// checks its size and checksum, unpacks it and leaves `destination`/cifar-10-batches-bin (or the like)
/// complete or not at all; needs about 350 MB while it works, 185 MB after. Others: downloads each file in
/// the same way and leaves it in `destination`/mnist (or the like) once it is checked, so that an interrupted
/// fetch goes on with the files that are missing. `destination` is created. Errors:
///   usage    an unknown name
///   data     something other than the file arrived (an HTML page, a wrong checksum; it is removed), the
///            given file is not the published one, or the folder exists with other content or cannot be
///            written
///   runtime  the network or the disk failed; what arrived stays for the next attempt
FetchResult fetch(const std::string& name, const std::filesystem::path& destination,
                  const FetchOptions& options = {});

/// The same for any archive in the CIFAR layout, and for any set of single files.
FetchResult fetch(const DatasetArchive& archive, const std::filesystem::path& destination,
                  const FetchOptions& options);
FetchResult fetch(const PublishedSet& set, const std::filesystem::path& destination,
                  const FetchOptions& options);

}  // namespace zeroth
