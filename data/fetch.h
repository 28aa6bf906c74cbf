#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "data/cifar.h"

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

/// Where the official archives lie; the file name is appended to it.
inline constexpr const char* kOfficialBaseUrl = "https://www.cs.toronto.edu/~kriz/";

enum class FetchPhase { download, check, unpack };
const char* name_of(FetchPhase phase);  // "download", "check", "unpack"

/// How far one phase is, in bytes.
struct FetchProgress {
  FetchPhase phase;
  std::uint64_t done, total;
};

struct FetchOptions {
  /// Another place that serves the same file: a mirror, a test. Must be http:// or https://.
  std::string base_url = kOfficialBaseUrl;
  /// An archive that is already on this machine; nothing is downloaded then, and it is left where it is.
  std::filesystem::path from_file;
  int connect_seconds = 30;
  int stall_seconds = 60;
  /// Called often, from the calling thread; returning false stops, to be continued by the next call.
  std::function<bool(const FetchProgress&)> progress;
};

struct FetchResult {
  std::filesystem::path folder;  ///< holds the set's files
  bool was_there = false;        ///< they were complete already; nothing was done
};

/// Gets a data set: downloads the archive to `destination`/FILE.part (continuing an interrupted one), checks
/// its size and SHA-256, unpacks it and leaves `destination`/cifar-10-batches-bin (or the like) complete or
/// not at all. Needs about 350 MB while it works, 185 MB after. `destination` is created. Errors:
///   usage    a name that has no archive
///   data     something other than the archive arrived (an HTML page, a wrong checksum; it is removed), the
///            given file is not the archive, or the folder exists with other content or cannot be written
///   runtime  the network or the disk failed; what arrived stays for the next attempt
FetchResult fetch(const std::string& name, const std::filesystem::path& destination,
                  const FetchOptions& options = {});

/// The same for any archive in the CIFAR layout.
FetchResult fetch(const DatasetArchive& archive, const std::filesystem::path& destination,
                  const FetchOptions& options = {});

}  // namespace zeroth
