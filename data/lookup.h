#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace zeroth {

/// Where a data set is: found, not yet read.
struct DatasetLocation {
  std::string name;              ///< one of dataset_names(), or "idx": a set in MNIST's layout
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
///   anything else  a folder, likewise; its content decides which set it is
/// (A folder called like a data set is reached as ./cifar10.) Errors: data, when it is not there: one line
/// that says where it was looked for and which command gets it.
DatasetLocation find_dataset(const std::string& name_or_folder);

/// CIFAR-10 where find_dataset("cifar10") would find it, or nothing: for a command that was given no data
/// set. Errors: data, when ZEROTH_DATA is set to what is no folder.
std::optional<DatasetLocation> find_default_dataset();

/// Reads or generates the set. Errors: as read_cifar(), read_idx(), read_svhn().
Dataset load_dataset(const DatasetLocation& location);

}  // namespace zeroth
