#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace zeroth {

/// What verify_dataset() found out about one file.
struct VerifiedFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::string sha256;
  bool official = false;  ///< its checksum is the published one
};

struct VerifyReport {
  std::string name;  ///< as in DatasetLocation
  std::filesystem::path folder;
  DataOrigin origin = DataOrigin::unofficial;
  std::vector<VerifiedFile> files;
  bool listed = false;  ///< every file in the folder's list of checksums (manifest.h) is as it was written
  std::vector<std::string> class_names;
  std::vector<std::string> notices;                           ///< what was passed over
  std::vector<std::int64_t> train_per_class, test_per_class;  // (classes)

  /// Every class has the same number of pictures, in either half.
  bool balanced() const;
  /// One line for a person: the set, its size, its balance, and whether the files are the official ones.
  std::string summary() const;
};

/// Holds a set against the list of checksums in its folder, where there is one, then reads the whole set and
/// reports what it holds. `name_or_folder` as for find_dataset(). Errors: as find_dataset(), check_manifest()
/// and load_dataset(); usage, for "generated" by name, which has no files.
VerifyReport verify_dataset(const std::string& name_or_folder);

}  // namespace zeroth
