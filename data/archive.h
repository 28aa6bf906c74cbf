#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

namespace zeroth {

/// A file an archive is expected to hold.
struct ExpectedMember {
  std::uint64_t bytes = 0;  ///< exact size; 0: any size up to 1 MB
  bool required = true;
};

/// Unpacks, in a child process, the expected members of a gzip-compressed tar archive into an existing
/// folder, each synced to disk. `members` maps their names inside the archive's own folder `prefix`
/// ("cifar-10-batches-bin" / "data_batch_1.bin"). Only these names are ever written; other files of up to 1
/// MB and folders are passed over. progress(bytes written) may be empty; returning false stops. Errors: data,
/// for a file that is no gzip archive (an HTML page is called one), a truncated or damaged archive, an
/// absolute name or one with "..", a link, a device or a pipe anywhere in it, more than 1000 members, a
/// member of the wrong size or kind, one that is there twice or missing, or an archive that libarchive
/// crashes on; runtime, for a full disk or a stop.
void unpack_members(const std::filesystem::path& archive, const std::string& prefix,
                    const std::map<std::string, ExpectedMember>& members, const std::filesystem::path& folder,
                    const std::function<bool(std::uint64_t done)>& progress);

/// Fails with Error(data) unless the file begins as a gzip archive does.
void check_is_gzip(const std::filesystem::path& archive);

}  // namespace zeroth
