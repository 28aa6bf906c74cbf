#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace zeroth {

/// The list of checksums that fetching or generating a set leaves in its folder. Lines are as sha256sum
/// writes and checks them (`sha256sum -c zeroth.sha256`), and a comment at the end counts them, so that a
/// list that was cut short is known.
inline constexpr const char* kManifestName = "zeroth.sha256";

/// Lists these files of a folder, which are there. The list appears as a whole. Errors: data, for a file that
/// cannot be read or a folder that cannot be written; runtime, for a full disk.
void write_manifest(const std::filesystem::path& folder, std::vector<std::string> names);

/// Holds the files of a folder against its list; false where it has none. Errors: data, one line that names
/// the file: one that is listed differs or is missing, or the list itself is damaged.
bool check_manifest(const std::filesystem::path& folder);

}  // namespace zeroth
