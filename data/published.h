#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/digest.h"

namespace zeroth {

/// A file as it is published. Its checksum is never computed from a copy: it was read where the file is
/// offered or by those who verify it.
struct PublishedFile {
  std::string name;  ///< last part of its address
  std::uint64_t bytes;
  DigestKind digest;
  std::string checksum;
};

/// A set that is published as single files, used as they come: "mnist", "fashion-mnist", "svhn" and
/// "svhn-extra" (whose training set includes the extra pictures).
struct PublishedSet {
  std::string name;
  std::string folder;    ///< what fetch() calls its folder
  std::string base_url;  ///< where the files lie; a name is appended to it
  std::vector<PublishedFile> files;
};

const std::vector<PublishedSet>& published_sets();

/// The set of that name, or nullptr where it is not published as single files.
const PublishedSet* published_set(const std::string& name);

/// Whether a file on disk has a published size and checksum.
bool is_published(const std::filesystem::path& path, const PublishedFile& file);
/// Whether all of them lie in a folder.
bool are_published(const std::filesystem::path& folder, const std::vector<PublishedFile>& files);

}  // namespace zeroth
