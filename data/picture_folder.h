#pragma once

#include <filesystem>

#include "data/dataset.h"

namespace zeroth {

inline constexpr int kPictureSize = 32;
inline constexpr int kSmallestPicture = 8, kLargestPicture = 1024;
inline constexpr double kTestShare = 0.2;

/// Whether a folder has subfolders of pictures: CLASS/*.png, or train/CLASS/*.png, by names that end in .png,
/// .jpg or .jpeg in any case.
bool holds_picture_folders(const std::filesystem::path& folder);

/// Reads pictures from a folder of class folders, by either layout:
///   train/CLASS/FILE and test/CLASS/FILE (val/ counts as test/ where there is no test/)
///   CLASS/FILE: `test_share` of each class (rounded, one at least) become the test set, drawn so that the
///   same files give the same halves
/// Classes are the names of their folders in byte order, pictures follow in byte order of their file names,
/// as (size, size, 3), made by PictureReader in child processes. Links are followed. Names that begin
/// with a dot are passed over; what else is no picture by its name is passed over and counted in `notices`.
/// Normalised by what measure_normalisation() finds in the training half. Errors:
///   data   one line: no or one class, a class without pictures, train/ without test/, a test class that is
///          none of train/, a name that is not UTF-8, a dead link, a damaged picture, more than 16 GB of
///          pixels
///   usage  test_share outside (0, 1); a size outside [8, 1024]
Dataset read_picture_folder(const std::filesystem::path& folder, int size = kPictureSize,
                            double test_share = kTestShare);

}  // namespace zeroth
