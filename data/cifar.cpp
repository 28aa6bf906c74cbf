#include "data/cifar.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <sstream>
#include <string_view>

#include "data/digest.h"
#include "data/files.h"
#include "data/generated.h"
#include "data/manifest.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

constexpr int kSide = 32;
constexpr std::int64_t kPlane = kSide * kSide;
constexpr std::int64_t kPictureBytes = 3 * kPlane;

// The checksums of the single files are those torchvision-ruby (lib/torchvision/datasets/cifar10.rb and
// cifar100.rb) verifies; the authors publish a checksum of the archives only.
const CifarLayout kCifar10 = {
    "cifar10",
    "cifar-10-batches-bin",
    10,
    1,
    {{"data_batch_1.bin", 10000, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"},
     {"data_batch_2.bin", 10000, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"},
     {"data_batch_3.bin", 10000, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"},
     {"data_batch_4.bin", 10000, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"},
     {"data_batch_5.bin", 10000, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"}},
    {"test_batch.bin", 10000, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"},
    "batches.meta.txt"};

const CifarLayout kCifar100 = {
    "cifar100",
    "cifar-100-binary",
    100,
    2,
    {{"train.bin", 50000, "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"}},
    {"test.bin", 10000, "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"},
    "fine_label_names.txt"};

/// A generated set on disk: CIFAR-10's files, any number of records (0 here), no published checksums.
CifarLayout generated_layout() {
  CifarLayout layout = kCifar10;
  layout.name = "generated";
  for (CifarFile& file : layout.train) file = {file.name, 0, ""};
  layout.test = {layout.test.name, 0, ""};
  return layout;
}

std::string advice_for(const CifarLayout& layout) {
  if (layout.name == "generated") {
    return "remove the folder and run `zeroth data generate generated --out FOLDER`";
  }
  return fmt::format("remove the folder and run `zeroth data fetch {}`", layout.name);
}

std::vector<std::string> read_lines(const fs::path& path) {
  const std::vector<std::uint8_t> bytes = read_file(path, 0, "");
  std::istringstream stream(std::string(bytes.begin(), bytes.end()));
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

std::vector<std::string> class_names(const fs::path& folder, const CifarLayout& layout) {
  const fs::path path = folder / layout.names_file;
  if (file_exists(path)) {
    std::vector<std::string> names = read_lines(path);
    if (static_cast<int>(names.size()) != layout.classes) {
      fail(ErrorKind::data, fmt::format("{} names {} classes, expected {}; {}", path.string(), names.size(),
                                        layout.classes, advice_for(layout)));
    }
    return names;
  }
  if (layout.name == "cifar10") {
    return {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  }
  std::vector<std::string> names;
  for (int label = 0; label < layout.classes; ++label) names.push_back(fmt::format("class {}", label));
  return names;
}

/// "; it is an HTML page" where a browser or a proxy saved something else under the right name.
std::string what_it_looks_like(const fs::path& path) {
  OpenFile file(path, O_RDONLY);
  std::vector<std::uint8_t> start(16);
  start.resize(file.read(start));
  const std::string_view text(reinterpret_cast<const char*>(start.data()), start.size());
  if (text.starts_with("<!DOCTYPE") || text.starts_with("<!doctype") || text.starts_with("<html")) {
    return " (it is an HTML page)";
  }
  if (text.starts_with("version https://")) return " (it is a Git LFS pointer)";
  if (text.starts_with("\x1f\x8b")) return " (it is a gzip archive)";
  return "";
}

std::vector<std::uint8_t> read_records(const fs::path& path, const CifarFile& file,
                                       const CifarLayout& layout) {
  const auto record = static_cast<std::uint64_t>(layout.record_bytes());
  const std::uint64_t size = OpenFile(path, O_RDONLY).size();
  if (file.records == 0 ? size == 0 || size % record != 0
                        : size != static_cast<std::uint64_t>(file.records) * record) {
    const std::string expected =
        file.records == 0
            ? fmt::format("a positive multiple of {}", record)
            : fmt::format("{} ({} records of {})", static_cast<std::uint64_t>(file.records) * record,
                          file.records, record);
    fail(ErrorKind::data, fmt::format("{} has {} bytes{}, expected {}; {}", path.string(), size,
                                      what_it_looks_like(path), expected, advice_for(layout)));
  }
  return read_file(path, size, advice_for(layout));
}

/// Appends the records of one file, planes turned into (H, W, C).
void append_records(const std::vector<std::uint8_t>& bytes, const fs::path& path, const CifarLayout& layout,
                    Pictures& pictures) {
  const std::int64_t record = layout.record_bytes();
  const std::int64_t records = static_cast<std::int64_t>(bytes.size()) / record;
  pictures.pixels.resize(static_cast<std::size_t>((pictures.count + records) * kPictureBytes));
  std::uint8_t* out = pictures.pixels.data() + pictures.count * kPictureBytes;
  for (std::int64_t i = 0; i < records; ++i) {
    const std::uint8_t* const planes = bytes.data() + i * record + layout.label_bytes;
    const int label = planes[-1];
    if (label >= layout.classes) {
      fail(ErrorKind::data, fmt::format("{}: record {} has label {}, expected 0 to {}; {}", path.string(), i,
                                        label, layout.classes - 1, advice_for(layout)));
    }
    pictures.labels.push_back(label);
    for (std::int64_t pixel = 0; pixel < kPlane; ++pixel) {
      *out++ = planes[pixel];
      *out++ = planes[kPlane + pixel];
      *out++ = planes[2 * kPlane + pixel];
    }
  }
  pictures.count += records;
}

/// Missing files are reported together, before anything is read.
void check_files_exist(const fs::path& folder, const CifarLayout& layout) {
  std::string missing;
  for (const CifarFile& file : layout.train) {
    if (!file_exists(folder / file.name)) missing += (missing.empty() ? "" : ", ") + file.name;
  }
  if (!file_exists(folder / layout.test.name)) missing += (missing.empty() ? "" : ", ") + layout.test.name;
  if (!missing.empty()) {
    fail(ErrorKind::data,
         fmt::format("{} lacks {} of {}; {}", folder.string(), missing, layout.name, advice_for(layout)));
  }
}

}  // namespace

const CifarLayout& cifar_layout(const std::string& name) {
  if (name == "cifar10") return kCifar10;
  if (name == "cifar100") return kCifar100;
  fail(ErrorKind::usage,
       fmt::format("no data set '{}' in the CIFAR layout: known are cifar10 and cifar100", name));
}

std::optional<std::string> cifar_set_in(const fs::path& folder) {
  const auto holds = [&](const CifarFile& file) { return file_exists(folder / file.name); };
  if (std::any_of(kCifar10.train.begin(), kCifar10.train.end(), holds) || holds(kCifar10.test)) {
    const fs::path names = folder / kCifar10.names_file;
    const bool drawn = file_exists(names) && read_lines(names) == generated_class_names();
    return drawn ? "generated" : "cifar10";
  }
  if (holds(kCifar100.train.front()) || holds(kCifar100.test)) return "cifar100";
  return std::nullopt;
}

Dataset read_cifar(const fs::path& folder, const std::string& name) {
  const CifarLayout layout = name == "generated" ? generated_layout() : cifar_layout(name);
  check_files_exist(folder, layout);
  Dataset set;
  set.name = name;
  set.folder = folder;
  set.class_names = class_names(folder, layout);
  set.normalisation = *published_normalisation(name);
  for (Pictures* half : {&set.train, &set.test}) *half = {0, kSide, kSide, 3, {}, {}};
  bool official = true;
  const auto append = [&](const CifarFile& file, Pictures& pictures) {
    const fs::path path = folder / file.name;
    const std::vector<std::uint8_t> bytes = read_records(path, file, layout);
    append_records(bytes, path, layout, pictures);
    official = official && !file.sha256.empty() && sha256_of(bytes) == file.sha256;
  };
  const std::int64_t train_count =
      std::accumulate(layout.train.begin(), layout.train.end(), std::int64_t{0},
                      [](std::int64_t sum, const CifarFile& file) { return sum + file.records; });
  set.train.pixels.reserve(static_cast<std::size_t>(train_count * kPictureBytes));
  for (const CifarFile& file : layout.train) append(file, set.train);
  append(layout.test, set.test);
  set.origin = name == "generated" ? DataOrigin::generated
               : official          ? DataOrigin::official
                                   : DataOrigin::unofficial;
  set.content_hash = content_hash_of(set.train, set.test);
  return set;
}

namespace {

/// The records of pictures [begin, end), (H, W, C) turned back into planes.
std::vector<std::uint8_t> to_records(const Pictures& pictures, std::int64_t begin, std::int64_t end) {
  std::vector<std::uint8_t> bytes;
  bytes.reserve(static_cast<std::size_t>((end - begin) * (kPictureBytes + 1)));
  for (std::int64_t i = begin; i < end; ++i) {
    bytes.push_back(static_cast<std::uint8_t>(pictures.labels[static_cast<std::size_t>(i)]));
    const std::uint8_t* const picture = pictures.pixels.data() + i * kPictureBytes;
    for (int channel = 0; channel < 3; ++channel) {
      for (std::int64_t pixel = 0; pixel < kPlane; ++pixel) bytes.push_back(picture[3 * pixel + channel]);
    }
  }
  return bytes;
}

}  // namespace

void write_cifar10_layout(const Dataset& set, const fs::path& folder) {
  for (const Pictures* half : {&set.train, &set.test}) {
    require(half->height == kSide && half->width == kSide && half->channels == 3,
            "CIFAR-10's layout holds 32 x 32 colour pictures only");
  }
  require(set.classes() == kCifar10.classes, "CIFAR-10's layout holds ten classes");
  const auto parts = static_cast<std::int64_t>(kCifar10.train.size());
  if (set.train.count % parts != 0) {
    fail(ErrorKind::usage,
         fmt::format("cannot cut {} training pictures into {} equal files", set.train.count, parts));
  }
  FolderInMaking making(folder);
  const std::int64_t each = set.train.count / parts;
  for (std::int64_t part = 0; part < parts; ++part) {
    write_file(making.temporary() / kCifar10.train[static_cast<std::size_t>(part)].name,
               to_records(set.train, part * each, (part + 1) * each));
  }
  write_file(making.temporary() / kCifar10.test.name, to_records(set.test, 0, set.test.count));
  std::string names;
  for (const std::string& name : set.class_names) names += name + "\n";
  write_file(making.temporary() / kCifar10.names_file,
             {reinterpret_cast<const std::uint8_t*>(names.data()), names.size()});
  write_manifest(making.temporary(), files_in(making.temporary()));
  making.publish();
}

}  // namespace zeroth
