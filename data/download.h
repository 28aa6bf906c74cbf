#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace zeroth {

struct DownloadOptions {
  std::uint64_t expected_bytes = 0;  ///< of the whole file; a server that sends more is cut off
  int connect_seconds = 30;          ///< give up on a server that does not answer
  int stall_seconds = 60;            ///< give up when nothing arrives for that long
  std::string offline_advice;        ///< added to the message where the server cannot be reached
  /// Told the bytes on disk so far; returning false stops the download. May be empty.
  std::function<bool(std::uint64_t done)> progress;
};

/// Brings a file over HTTP or HTTPS, following redirects and the usual proxy variables (https_proxy,
/// no_proxy and their kin). What `file` already holds is continued where the server can, and begun anew where
/// it cannot; a file that is complete is left alone. The file is synced to disk. One process at a time may
/// write it. Errors, one line each:
///   runtime  no network, no such host, a refused or stalled connection, an HTTP error, a transfer that ended
///            early, a full disk, a stop asked for by `progress`; what arrived stays for the next attempt
///   data     an HTML page or a longer file in its place, or a file that cannot be created
void download(const std::string& url, const std::filesystem::path& file, const DownloadOptions& options);

}  // namespace zeroth
