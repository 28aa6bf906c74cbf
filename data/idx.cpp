#include "data/idx.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "data/files.h"
#include "data/published.h"
#include "data/unpack.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 34;
constexpr std::uint32_t kLargestSide = 1024;

/// The files of one half.
struct Half {
  std::string images, labels;
  std::int64_t published_count;
};
const Half kTrain = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", 60000};
const Half kTest = {"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 10000};

std::string advice_for(const std::string& name) {
  return name == "idx" ? "" : fmt::format("; remove it and run `zeroth data fetch {}`", name);
}

/// FILE.gz or FILE, whichever is there; empty where neither is.
fs::path find_file(const fs::path& folder, const std::string& file) {
  for (const char* suffix : {".gz", ""}) {
    if (fs::path path = folder / (file + suffix); file_exists(path)) return path;
  }
  return {};
}

struct IdxFile {
  std::vector<std::uint32_t> extents;
  std::vector<std::uint8_t> values;
};

std::uint32_t big_endian(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 |
         bytes[3];
}

/// Reads the header, checks what it promises against what can be there, then reads the values.
IdxFile read_idx_file(const fs::path& path, std::size_t dimensions, const std::string& advice) {
  const std::vector<std::uint8_t> bytes = read_file(path, 0, "");
  Unpacker reader(path, bytes, packing_of(bytes));
  std::vector<std::uint8_t> header(4 + 4 * dimensions);
  const std::size_t got = reader.read(header);
  if (got < header.size() || header[0] != 0 || header[1] != 0 || header[2] != 8 || header[3] != dimensions) {
    fail(ErrorKind::data,
         fmt::format("{} is no IDX file of bytes in {} dimension{} (it does not begin with 00 00 08 0{}){}",
                     path.string(), dimensions, dimensions == 1 ? "" : "s", dimensions, advice));
  }
  IdxFile file;
  std::uint64_t count = 1;
  for (std::size_t i = 0; i < dimensions; ++i) {
    const std::uint32_t extent = big_endian(header.data() + 4 + 4 * i);
    if (extent == 0 || (i > 0 && extent > kLargestSide)) {
      fail(ErrorKind::data, fmt::format("{}: its dimension {} is {}{}", path.string(), i, extent, advice));
    }
    count *= extent;  // at most 2^32 * 2^20
    file.extents.push_back(extent);
  }
  if (count > kMostBytes || count > reader.most_bytes()) {
    fail(ErrorKind::data, fmt::format("{} promises {} bytes, which do not fit into its {} bytes{}",
                                      path.string(), count, bytes.size(), advice));
  }
  file.values.resize(count);
  const std::size_t values = reader.read(file.values);
  if (values != count) {
    fail(ErrorKind::data,
         fmt::format("{} is truncated: it ends after {} of the {} bytes its header promises{}", path.string(),
                     values, count, advice));
  }
  if (!reader.at_end()) {
    fail(ErrorKind::data,
         fmt::format("{} is longer than the {} bytes its header promises{}", path.string(), count, advice));
  }
  return file;
}

Pictures read_half(const fs::path& folder, const Half& half, const std::string& name) {
  const std::string advice = advice_for(name);
  const fs::path images_path = find_file(folder, half.images), labels_path = find_file(folder, half.labels);
  IdxFile labels = read_idx_file(labels_path, 1, advice);
  IdxFile images = read_idx_file(images_path, 3, advice);
  if (labels.extents[0] != images.extents[0]) {
    fail(ErrorKind::data, fmt::format("{} has {} pictures, but {} has {} labels{}", images_path.string(),
                                      images.extents[0], labels_path.string(), labels.extents[0], advice));
  }
  if (name != "idx" &&
      (images.extents[0] != half.published_count || images.extents[1] != 28 || images.extents[2] != 28)) {
    fail(ErrorKind::data, fmt::format("{} holds {} pictures of {} x {}, but {} has {} of 28 x 28{}",
                                      images_path.string(), images.extents[0], images.extents[1],
                                      images.extents[2], name, half.published_count, advice));
  }
  Pictures pictures{images.extents[0],
                    static_cast<int>(images.extents[1]),
                    static_cast<int>(images.extents[2]),
                    1,
                    std::move(images.values),
                    {labels.values.begin(), labels.values.end()}};
  return pictures;
}

void check_labels(const Pictures& pictures, int classes, const fs::path& path, const std::string& advice) {
  for (std::size_t i = 0; i < pictures.labels.size(); ++i) {
    if (pictures.labels[i] >= classes) {
      fail(ErrorKind::data, fmt::format("{}: label {} is {}, expected 0 to {}{}", path.string(), i,
                                        pictures.labels[i], classes - 1, advice));
    }
  }
}

std::vector<std::string> class_names_of(const std::string& name, const Pictures& train) {
  if (name == "fashion-mnist") {  // as its authors call them
    return {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
            "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
  }
  const int classes = name == "mnist" ? 10 : 1 + *std::max_element(train.labels.begin(), train.labels.end());
  std::vector<std::string> names;
  for (int label = 0; label < classes; ++label) names.push_back(std::to_string(label));
  return names;
}

}  // namespace

std::optional<std::string> idx_set_in(const fs::path& folder) {
  bool any = false;
  for (const Half* half : {&kTrain, &kTest}) {
    for (const std::string* file : {&half->images, &half->labels})
      any = any || !find_file(folder, *file).empty();
  }
  if (!any) return std::nullopt;
  for (const char* name : {"mnist", "fashion-mnist"}) {
    for (const PublishedFile& file : published_set(name)->files) {
      const bool small = file.name.find("labels") != std::string::npos;
      if (small && file_exists(folder / file.name) && is_published(folder / file.name, file)) return name;
    }
  }
  const fs::path path = fs::absolute(folder).lexically_normal();
  const fs::path whole = path.has_filename() ? path : path.parent_path();
  const fs::path last = whole.filename(), before = whole.parent_path().filename();
  for (const auto& [name, theirs] : {std::pair("mnist", "MNIST"), {"fashion-mnist", "FashionMNIST"}}) {
    if (last == name || last == theirs || (last == "raw" && before == theirs)) return name;
  }
  return "idx";
}

Dataset read_idx(const fs::path& folder, const std::string& name) {
  std::string missing;
  for (const Half* half : {&kTrain, &kTest}) {
    for (const std::string* file : {&half->images, &half->labels}) {
      if (find_file(folder, *file).empty()) missing += (missing.empty() ? "" : ", ") + *file + ".gz";
    }
  }
  const std::string advice = advice_for(name);
  if (!missing.empty()) {
    fail(ErrorKind::data,
         fmt::format("{} lacks {} of {}{}", folder.string(), missing, name,
                     name == "idx" ? "" : fmt::format("; run `zeroth data fetch {}`", name)));
  }
  Dataset set;
  set.name = name;
  set.folder = folder;
  set.train = read_half(folder, kTrain, name);
  set.test = read_half(folder, kTest, name);
  if (set.train.height != set.test.height || set.train.width != set.test.width) {
    fail(ErrorKind::data,
         fmt::format("{}: training pictures are {} x {}, test pictures {} x {}", folder.string(),
                     set.train.height, set.train.width, set.test.height, set.test.width));
  }
  set.class_names = class_names_of(name, set.train);
  check_labels(set.train, set.classes(), find_file(folder, kTrain.labels), advice);
  check_labels(set.test, set.classes(), find_file(folder, kTest.labels), advice);
  const Normalisation* const published = published_normalisation(name);
  set.normalisation = published != nullptr ? *published : measure_normalisation(set.train);
  set.mirrors = name == "fashion-mnist";  // a mirrored digit or letter is none, or another one
  set.origin = DataOrigin::own;
  if (const PublishedSet* const official = published_set(name)) {
    set.origin = are_published(folder, official->files) ? DataOrigin::official : DataOrigin::unofficial;
  }
  set.content_hash = content_hash_of(set.train, set.test);
  return set;
}

}  // namespace zeroth
