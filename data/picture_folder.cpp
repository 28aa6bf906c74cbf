#include "data/picture_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "data/files.h"
#include "data/order.h"
#include "data/picture_reader.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 34;

struct LabelledFile {
  fs::path path;
  std::int32_t label;
};

/// What was passed over, to be told in one line.
struct PassedOver {
  std::size_t count = 0;
  fs::path first;
  void add(const fs::path& path) {
    if (count++ == 0) first = path;
  }
};

bool has_picture_name(const fs::path& path) {
  std::string suffix = path.extension().string();
  for (char& letter : suffix)
    letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
  return suffix == ".png" || suffix == ".jpg" || suffix == ".jpeg";
}

/// The entries of a folder in byte order, without those that begin with a dot.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (!it->path().filename().string().starts_with('.')) entries.push_back(it->path());
  }
  if (error) fail(ErrorKind::data, fmt::format("cannot read {}: {}", folder.string(), error.message()));
  std::sort(entries.begin(), entries.end(),
            [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
  return entries;
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;  // what cannot be looked at is reported where it is read
  return fs::is_directory(path, ignored);
}

bool holds_pictures(const fs::path& folder) {
  const std::vector<fs::path> entries = entries_of(folder);
  return std::any_of(entries.begin(), entries.end(), has_picture_name);
}

bool holds_class_folders(const fs::path& folder) {
  const std::vector<fs::path> entries = entries_of(folder);
  return std::any_of(entries.begin(), entries.end(),
                     [](const fs::path& entry) { return is_folder(entry) && holds_pictures(entry); });
}

/// Whether train/ is a half, rather than a class of trains.
bool has_halves(const fs::path& folder) {
  return is_folder(folder / "train") && !holds_pictures(folder / "train") &&
         holds_class_folders(folder / "train");
}

/// A class's name is shown and written into results: one line of UTF-8.
void check_class_name(const fs::path& folder) {
  const std::string name = folder.filename().string();
  std::size_t following = 0;
  bool fits = true;
  for (const char letter : name) {
    const auto byte = static_cast<unsigned char>(letter);
    if (following > 0) {
      fits = fits && (byte & 0xc0) == 0x80;
      --following;
    } else if (byte >= 0x80) {
      following = byte >= 0xf0 && byte < 0xf5 ? 3 : byte >= 0xe0 ? 2 : 1;
      fits = fits && byte >= 0xc2 && byte < 0xf5;
    } else {
      fits = fits && byte >= 0x20 && byte != 0x7f;
    }
  }
  if (!fits || following > 0) {
    fail(ErrorKind::data, fmt::format("a class folder in {} has a name that is no line of UTF-8; rename it",
                                      folder.parent_path().string()));
  }
}

/// The class folders of a half; files beside them are passed over.
std::vector<fs::path> class_folders(const fs::path& folder, PassedOver& passed_over) {
  std::vector<fs::path> folders;
  for (const fs::path& entry : entries_of(folder)) {
    if (!is_folder(entry)) {
      passed_over.add(entry);
      continue;
    }
    check_class_name(entry);
    folders.push_back(entry);
  }
  return folders;
}

void add_files(const fs::path& folder, std::int32_t label, std::vector<LabelledFile>& files,
               PassedOver& passed_over) {
  const std::size_t before = files.size();
  for (const fs::path& entry : entries_of(folder)) {
    std::error_code error;
    const fs::file_status status = fs::status(entry, error);
    if (!has_picture_name(entry) || fs::is_directory(status)) {
      passed_over.add(entry);
    } else if (status.type() == fs::file_type::not_found) {
      fail(ErrorKind::data,
           fmt::format("{} is a link that leads nowhere; repair it or remove it", entry.string()));
    } else if (!fs::is_regular_file(status)) {
      fail(ErrorKind::data, fmt::format("{} is no plain file; remove it", entry.string()));
    } else {
      files.push_back({entry, label});
    }
  }
  if (files.size() == before) {
    fail(ErrorKind::data,
         fmt::format("{} holds no PNG or JPEG picture; a folder is a class: remove it or fill it",
                     folder.string()));
  }
}

/// One for each core that has work.
std::vector<std::unique_ptr<PictureReader>> make_readers(std::size_t files) {
  const std::size_t cores = std::clamp(std::thread::hardware_concurrency(), 1u, 32u);
  std::vector<std::unique_ptr<PictureReader>> readers;
  for (std::size_t i = 0; i < std::clamp<std::size_t>(files, 1, cores); ++i)
    readers.push_back(std::make_unique<PictureReader>());
  return readers;
}

/// Decodes and resamples all files, with a thread for each reader. Where several fail, the first of them in
/// order is reported.
Pictures read_files(const std::vector<LabelledFile>& files, int size,
                    const std::vector<std::unique_ptr<PictureReader>>& readers) {
  Pictures pictures{static_cast<std::int64_t>(files.size()), size, size, 3, {}, {}};
  const auto each = static_cast<std::size_t>(pictures.bytes_each());
  if (files.size() > kMostBytes / each) {
    fail(ErrorKind::data,
         fmt::format("{} pictures of {} x {} take more than 16 GB; take a smaller --picture-size",
                     files.size(), size, size));
  }
  pictures.pixels.resize(files.size() * each);
  for (const LabelledFile& file : files) pictures.labels.push_back(file.label);
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::size_t failed = files.size();
  std::exception_ptr failure;
  const auto work = [&](PictureReader& reader) {
    for (std::size_t i = next++; i < files.size(); i = next++) {
      try {
        reader.read_square(files[i].path, size, std::span(pictures.pixels).subspan(i * each, each));
      } catch (...) {
        const std::scoped_lock lock(mutex);
        next = files.size();
        if (i < failed) failure = std::current_exception();
        failed = std::min(failed, i);
      }
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (std::size_t i = 1; i < readers.size(); ++i) helpers.emplace_back(work, std::ref(*readers[i]));
    work(*readers.front());
  }
  if (failure) std::rethrow_exception(failure);
  return pictures;
}

std::vector<LabelledFile> pick(const std::vector<LabelledFile>& files,
                               const std::vector<std::int32_t>& indices) {
  std::vector<LabelledFile> picked;
  for (const std::int32_t index : indices) picked.push_back(files[static_cast<std::size_t>(index)]);
  return picked;
}

struct Halves {
  std::vector<LabelledFile> train, test;
};

Halves files_of_halves(const fs::path& folder, std::vector<std::string>& class_names,
                       PassedOver& passed_over) {
  const bool has_test = is_folder(folder / "test");
  if (!has_test && !is_folder(folder / "val")) {
    fail(ErrorKind::data, fmt::format("{} has a folder train, but neither test nor val", folder.string()));
  }
  Halves halves;
  for (const fs::path& one : class_folders(folder / "train", passed_over)) {
    add_files(one, static_cast<std::int32_t>(class_names.size()), halves.train, passed_over);
    class_names.push_back(one.filename().string());
  }
  for (const fs::path& one : class_folders(folder / (has_test ? "test" : "val"), passed_over)) {
    const auto label = std::find(class_names.begin(), class_names.end(), one.filename().string());
    if (label == class_names.end()) {
      fail(ErrorKind::data, fmt::format("{} is a class that {} has no pictures of", one.string(),
                                        (folder / "train").string()));
    }
    add_files(one, static_cast<std::int32_t>(label - class_names.begin()), halves.test, passed_over);
  }
  for (const fs::path& entry : entries_of(folder)) {
    const std::string name = entry.filename().string();
    if (name != "train" && name != (has_test ? "test" : "val")) passed_over.add(entry);
  }
  if (halves.test.empty()) {
    fail(ErrorKind::data,
         fmt::format("{} holds no test pictures", (folder / (has_test ? "test" : "val")).string()));
  }
  return halves;
}

Halves split_files(const fs::path& folder, double share, std::vector<std::string>& class_names,
                   PassedOver& passed_over) {
  std::vector<LabelledFile> files;
  for (const fs::path& one : class_folders(folder, passed_over)) {
    const std::size_t before = files.size();
    add_files(one, static_cast<std::int32_t>(class_names.size()), files, passed_over);
    class_names.push_back(one.filename().string());
    if (files.size() - before < 2) {
      fail(ErrorKind::data,
           fmt::format("{} holds one picture; it takes two, one of them for the test", one.string()));
    }
  }
  std::vector<std::int32_t> labels;
  for (const LabelledFile& file : files) labels.push_back(file.label);
  const Split split = share_split(labels, static_cast<int>(class_names.size()), share);
  return {pick(files, split.train), pick(files, split.validation)};
}

}  // namespace

bool holds_picture_folders(const fs::path& folder) {
  return has_halves(folder) || holds_class_folders(folder);
}

Dataset read_picture_folder(const fs::path& folder, int size, double test_share) {
  require(size >= kSmallestPicture && size <= kLargestPicture, "pictures are made 8 x 8 to 1024 x 1024");
  Dataset set;
  set.name = "pictures";
  set.folder = folder;
  set.origin = DataOrigin::own;
  PassedOver passed_over;
  Halves halves;
  if (has_halves(folder)) {
    halves = files_of_halves(folder, set.class_names, passed_over);
  } else {
    halves = split_files(folder, test_share, set.class_names, passed_over);
    set.test_share = test_share;
  }
  if (set.classes() < 2) {
    fail(ErrorKind::data,
         fmt::format("{} holds {} class; it takes two, a folder each", folder.string(), set.classes()));
  }
  if (passed_over.count > 0) {
    set.notices.push_back(fmt::format("passed over {} {} no picture of a class, {}{}", passed_over.count,
                                      passed_over.count == 1 ? "entry that is" : "entries that are",
                                      passed_over.count == 1 ? "" : "first ", passed_over.first.string()));
  }
  const auto readers = make_readers(halves.train.size() + halves.test.size());
  set.train = read_files(halves.train, size, readers);
  set.test = read_files(halves.test, size, readers);
  set.normalisation = measure_normalisation(set.train);
  set.content_hash = content_hash_of(set.train, set.test);
  return set;
}

}  // namespace zeroth
