#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace zeroth {

/// Where a data set is: found, not yet read.
struct DatasetLocation {
  std::string name;              ///< one of dataset_names(), "idx": a set in MNIST's layout, or "pictures"
  std::filesystem::path folder;  ///< the folder that holds its files; empty: to be generated in memory
};

/// The names find_dataset() knows: "cifar10", "cifar100", "mnist", ..., "generated".
const std::vector<std::string>& dataset_names();

/// Where fetched sets go and names are looked up last: $XDG_CACHE_HOME/zeroth, else ~/.cache/zeroth; empty
/// when the environment has neither XDG_CACHE_HOME nor HOME.
std::filesystem::path cache_folder();

/// Finds a data set by name or folder.
///   a known name   looked up in $ZEROTH_DATA, then in cache_folder(); either may hold the set's files or
///                  the folder that the official archive unpacks to or that fetch() or torchvision makes.
///                  "generated" needs no files.
///   anything else  a folder, likewise; its content decides which set it is; one of class folders of pictures
///                  is "pictures"
/// (A folder called like a data set is reached as ./cifar10.) Errors: data, when it is not there: one line
/// that says where it was looked for and which command gets it.
DatasetLocation find_dataset(const std::string& name_or_folder);

/// CIFAR-10 where find_dataset("cifar10") would find it, or nothing: for a command that was given no data
/// set. Errors: data, when ZEROTH_DATA is set to what is no folder.
std::optional<DatasetLocation> find_default_dataset();

/// What may be asked for besides a set.
struct DatasetOptions {
  std::optional<int> picture_size;   ///< pictures are resampled to size x size: see resample_square()
  std::optional<double> test_share;  ///< of pictures: see read_picture_folder()
};

/// Reads or generates the set. Errors: as read_cifar(), read_idx(), read_svhn(), read_picture_folder();
/// usage, for a test_share of a set that has a test half.
Dataset load_dataset(const DatasetLocation& location, const DatasetOptions& options = {});

}  // namespace zeroth
