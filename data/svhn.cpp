#include "data/svhn.h"

#include <fmt/format.h>

#include <cmath>

#include "data/files.h"
#include "data/mat5.h"
#include "data/published.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

constexpr int kSide = 32, kChannels = 3, kPlane = kSide * kSide;

const char* const kAdvice = "remove it and run `zeroth data fetch svhn`";

[[noreturn]] void fail_file(const fs::path& path, const std::string& what) {
  fail(ErrorKind::data, fmt::format("{} {}; {}", path.string(), what, kAdvice));
}

const MatArray& find_array(const std::vector<MatArray>& arrays, const char* name, const fs::path& path) {
  for (const MatArray& array : arrays) {
    if (array.name == name) return array;
  }
  fail_file(path, fmt::format("holds no variable {}", name));
}

/// Appends the pictures of X, which lie plane by plane and in each column by column, as (H, W, C).
void append_pictures(const MatArray& x, Pictures& pictures) {
  const std::size_t count = x.extents[3];
  const std::uint8_t* planes = x.bytes.data();
  const std::size_t before = pictures.pixels.size();
  pictures.pixels.resize(before + count * std::size_t{kChannels * kPlane});
  std::uint8_t* out = pictures.pixels.data() + before;
  for (std::size_t i = 0; i < count; ++i, planes += kChannels * kPlane) {
    for (int row = 0; row < kSide; ++row) {
      for (int column = 0; column < kSide; ++column) {
        for (int c = 0; c < kChannels; ++c) *out++ = planes[c * kPlane + column * kSide + row];
      }
    }
  }
  pictures.count += static_cast<std::int64_t>(count);
}

void append_file(const fs::path& path, Pictures& pictures) {
  const std::vector<MatArray> arrays = read_mat5(path, kAdvice);
  const MatArray &x = find_array(arrays, "X", path), &y = find_array(arrays, "y", path);
  const auto& extents = x.extents;
  if (x.type != MatType::u8 || extents.size() != 4 || extents[0] != kSide || extents[1] != kSide ||
      extents[2] != kChannels || extents[3] == 0) {
    fail_file(path, "holds something else than 32 x 32 x 3 x N bytes in X");
  }
  if (y.extents != std::vector<std::uint64_t>{extents[3], 1}) {
    fail_file(path, fmt::format("holds {} pictures in X, but not as many labels in y", extents[3]));
  }
  append_pictures(x, pictures);
  for (const double label : y.numbers()) {
    if (!(label >= 1 && label <= 10) || label != std::floor(label)) {
      fail_file(path, fmt::format("holds the label {}, expected 1 to 10", label));
    }
    pictures.labels.push_back(static_cast<int>(label) % 10);  // 10 stands for the digit 0
  }
}

}  // namespace

std::optional<std::string> svhn_set_in(const fs::path& folder) {
  // A folder that is named after the smaller set is that set, also where somebody put the extra file there.
  const fs::path own_name = folder.has_filename() ? folder.filename() : folder.parent_path().filename();
  if (own_name == "svhn" && file_exists(folder / published_set("svhn")->files.back().name)) return "svhn";
  for (const char* name : {"svhn-extra", "svhn"}) {
    if (file_exists(folder / published_set(name)->files.back().name)) return name;
  }
  return file_exists(folder / published_set("svhn")->files.front().name) ? std::optional("svhn")
                                                                         : std::nullopt;
}

Dataset read_svhn(const fs::path& folder, const std::string& name) {
  const std::vector<PublishedFile>& files = published_set(name)->files;
  std::string missing;
  for (const PublishedFile& file : files) {
    if (!file_exists(folder / file.name)) missing += (missing.empty() ? "" : ", ") + file.name;
  }
  if (!missing.empty()) {
    fail(ErrorKind::data,
         fmt::format("{} lacks {} of {}; run `zeroth data fetch {}`", folder.string(), missing, name, name));
  }
  Dataset set;
  set.name = name;
  set.folder = folder;
  for (Pictures* half : {&set.train, &set.test}) *half = {0, kSide, kSide, kChannels, {}, {}};
  for (const PublishedFile& file : files) {
    append_file(folder / file.name, file.name.starts_with("test") ? set.test : set.train);
  }
  for (int digit = 0; digit < 10; ++digit) set.class_names.push_back(std::to_string(digit));
  const Normalisation* const published = published_normalisation(name);
  set.normalisation = published != nullptr ? *published : measure_normalisation(set.train);
  set.mirrors = false;  // a mirrored digit is none, or another one
  set.origin = are_published(folder, files) ? DataOrigin::official : DataOrigin::unofficial;
  set.content_hash = content_hash_of(set.train, set.test);
  return set;
}

}  // namespace zeroth
