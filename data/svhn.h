#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "data/dataset.h"

namespace zeroth {

/// Which set the files directly in a folder belong to: "svhn-extra" where extra_32x32.mat is among them,
/// unless the folder is named svhn; "svhn" where train_32x32.mat or test_32x32.mat is; nothing where there is
/// none of them.
std::optional<std::string> svhn_set_in(const std::filesystem::path& folder);

/// Reads the cropped digits of the Street View House Numbers ("format 2",
/// http://ufldl.stanford.edu/housenumbers/) from train_32x32.mat and test_32x32.mat: MATLAB files of version
/// 5 with X, (32, 32, 3, N) bytes, and y, (N, 1) labels from 1 to 10, where 10 stands for the digit 0. For
/// "svhn-extra" the pictures of extra_32x32.mat follow those of train_32x32.mat: 604,388 in all, 1.9 GB.
/// Files may hold any number of pictures; only the published ones are official. Errors: data, one line that
/// names the file, what is wrong (missing, no MATLAB file of version 5, truncated, other variables, pictures
/// and labels that do not match, a label out of range) and how to mend it.
Dataset read_svhn(const std::filesystem::path& folder, const std::string& name);

}  // namespace zeroth
