#include "data/lookup.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "data/cifar.h"
#include "data/fetch.h"
#include "data/generated.h"
#include "data/idx.h"
#include "data/picture_folder.h"
#include "data/resize.h"
#include "data/svhn.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

/// An environment variable; empty when unset.
std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// $ZEROTH_DATA, empty when unset. A mistyped folder must not pass for "no data here".
fs::path data_folder() {
  const fs::path folder = environment("ZEROTH_DATA");
  std::error_code error;
  if (!folder.empty() && !fs::is_directory(folder, error)) {
    fail(ErrorKind::data,
         fmt::format("ZEROTH_DATA is '{}', which is no folder here; correct or unset it", folder.string()));
  }
  return folder;
}

/// Where a set lies below a folder that holds several: as its archive, fetch() or torchvision names it.
const std::vector<const char*> kSubfolders = {
    "cifar-10-batches-bin", "cifar-100-binary", "mnist", "MNIST/raw",
    "fashion-mnist",        "FashionMNIST/raw", "svhn",  "svhn-extra"};

std::optional<std::string> dataset_in_folder(const fs::path& folder) {
  if (auto name = cifar_set_in(folder)) return name;
  if (auto name = idx_set_in(folder)) return name;
  return svhn_set_in(folder);
}

/// The sets a folder holds: its own files, or those in the folders of official sets.
std::vector<DatasetLocation> datasets_under(const fs::path& folder) {
  std::vector<DatasetLocation> found;
  if (const auto name = dataset_in_folder(folder)) found.push_back({*name, folder});
  for (const char* sub : kSubfolders) {
    if (const auto name = dataset_in_folder(folder / sub)) found.push_back({*name, folder / sub});
  }
  return found;
}

std::optional<DatasetLocation> find_name(const std::string& name, const std::vector<fs::path>& places) {
  for (const fs::path& place : places) {
    for (DatasetLocation& location : datasets_under(place)) {
      if (location.name == name) return std::move(location);
    }
  }
  return std::nullopt;
}

std::vector<fs::path> places_for_names() {
  std::vector<fs::path> places;
  if (fs::path folder = data_folder(); !folder.empty()) places.push_back(std::move(folder));
  if (fs::path folder = cache_folder(); !folder.empty()) places.push_back(std::move(folder));
  return places;
}

DatasetLocation find_in_folder(const fs::path& folder) {
  std::vector<DatasetLocation> found = datasets_under(folder);
  if (found.size() == 1) return std::move(found.front());
  if (found.size() > 1) {
    fail(ErrorKind::data,
         fmt::format("{} holds {} and {}; give one of them: {} or {}", folder.string(), found[0].name,
                     found[1].name, found[0].folder.string(), found[1].folder.string()));
  }
  std::error_code ignored;
  for (const char* known : {"cifar10", "cifar100"}) {
    const std::string archive =
        known == std::string("cifar10") ? "cifar-10-binary.tar.gz" : "cifar-100-binary.tar.gz";
    if (fs::exists(folder / archive, ignored)) {
      fail(ErrorKind::data, fmt::format("{} holds {} still packed; run `zeroth data fetch {} --from {}`",
                                        folder.string(), archive, known, (folder / archive).string()));
    }
  }
  if (fs::exists(folder / "data_batch_1", ignored) || fs::exists(folder / "cifar-10-batches-py", ignored)) {
    fail(ErrorKind::data,
         fmt::format("{} holds CIFAR-10's Python version; zeroth reads the binary version: run "
                     "`zeroth data fetch cifar10`",
                     folder.string()));
  }
  if (holds_picture_folders(folder)) return {"pictures", folder};
  fail(ErrorKind::data,
       fmt::format(
           "no data set in {}: expected data_batch_1.bin to data_batch_5.bin and test_batch.bin (CIFAR-10), "
           "train.bin and test.bin (CIFAR-100), train-images-idx3-ubyte.gz and its kin (MNIST), "
           "train_32x32.mat and test_32x32.mat (SVHN), or a folder of PNG or JPEG pictures for each class",
           folder.string()));
}

}  // namespace

const std::vector<std::string>& dataset_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = fetchable_names();
    all.push_back("generated");
    return all;
  }();
  return names;
}

fs::path cache_folder() {
  // The XDG base directory specification says to ignore a relative path.
  const fs::path xdg = environment("XDG_CACHE_HOME");
  if (xdg.is_absolute()) return xdg / "zeroth";
  const fs::path home = environment("HOME");
  return home.empty() ? fs::path() : home / ".cache" / "zeroth";
}

DatasetLocation find_dataset(const std::string& name_or_folder) {
  const std::vector<std::string>& names = dataset_names();
  if (name_or_folder == "generated") return {"generated", {}};
  if (std::find(names.begin(), names.end(), name_or_folder) != names.end()) {
    const std::vector<fs::path> places = places_for_names();
    if (auto location = find_name(name_or_folder, places)) return std::move(*location);
    std::vector<std::string> looked;
    for (const fs::path& place : places) looked.push_back(place.string());
    fail(
        ErrorKind::data,
        fmt::format("no {} in {}{}; run `zeroth data fetch {}`, or point ZEROTH_DATA or --data to its folder",
                    name_or_folder,
                    looked.empty() ? "ZEROTH_DATA (unset)" : fmt::format("{}", fmt::join(looked, ", ")),
                    !looked.empty() && environment("ZEROTH_DATA").empty() ? " (ZEROTH_DATA is unset)" : "",
                    name_or_folder));
  }
  std::error_code error;
  if (fs::is_directory(name_or_folder, error)) return find_in_folder(name_or_folder);
  if (fs::exists(name_or_folder, error)) {
    fail(ErrorKind::data,
         fmt::format("{} is a file; give the folder that holds the data set", name_or_folder));
  }
  fail(ErrorKind::data,
       fmt::format(
           "no folder and no data set '{}': known names are {}; run `zeroth data fetch NAME` to get one",
           name_or_folder, fmt::join(names, ", ")));
}

std::optional<DatasetLocation> find_default_dataset() {
  return find_name("cifar10", places_for_names());
}

namespace {

Dataset read_as_stored(const DatasetLocation& location) {
  const auto& [name, folder] = location;
  if (folder.empty() && name == "generated") return generate_dataset();
  if (name == "mnist" || name == "fashion-mnist" || name == "idx") return read_idx(folder, name);
  if (name == "svhn" || name == "svhn-extra") return read_svhn(folder, name);
  return read_cifar(folder, name);
}

}  // namespace

Dataset load_dataset(const DatasetLocation& location, const DatasetOptions& options) {
  if (location.name == "pictures") {
    return read_picture_folder(location.folder, options.picture_size.value_or(kPictureSize),
                               options.test_share.value_or(kTestShare));
  }
  Dataset set = read_as_stored(location);
  if (options.picture_size) {
    for (Pictures* half : {&set.train, &set.test}) resample_square(*half, *options.picture_size);
    set.content_hash = content_hash_of(set.train, set.test);
  }
  return set;
}

}  // namespace zeroth
