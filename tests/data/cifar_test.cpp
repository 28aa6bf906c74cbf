#include "data/cifar.h"

#include <unistd.h>

#include "data/digest.h"
#include "data/generated.h"
#include "data/lookup.h"
#include "data/verify.h"
#include "tests/data/scratch.h"

namespace zeroth::test {
namespace fs = std::filesystem;
namespace {

/// A complete CIFAR-10 folder, made once: links to one file's worth of records.
void make_cifar10(const fs::path& folder) {
  write_text(folder / "data_batch_1.bin", make_records(10000, 1, 10));
  for (int i = 2; i <= 5; ++i) {
    fs::create_hard_link(folder / "data_batch_1.bin", folder / ("data_batch_" + std::to_string(i) + ".bin"));
  }
  fs::create_hard_link(folder / "data_batch_1.bin", folder / "test_batch.bin");
}

void replace(const fs::path& file, const std::string& content) {
  fs::remove(file);  // never write through a hard link
  write_text(file, content);
}

}  // namespace

TEST_CASE("CIFAR-10's planes become pictures, its labels integers", "[cifar]") {
  const ScratchFolder scratch;
  make_cifar10(scratch.path());
  const Dataset set = read_cifar(scratch.path(), "cifar10");
  CHECK(set.train.count == 50000);
  CHECK(set.test.count == 10000);
  CHECK(set.train.pixels.size() == 50000u * 3072u);
  CHECK(set.classes() == 10);
  CHECK(set.class_names[9] == "truck");
  CHECK(set.origin == DataOrigin::unofficial);
  CHECK(set.normalisation.mean[0] == 0.49139968f);
  std::size_t wrong = 0;
  for (const std::int64_t i : {0, 1, 9999, 10000, 49999}) {
    wrong += set.train.labels[static_cast<std::size_t>(i)] != i % 10;
    for (int plane = 0; plane < 3; ++plane) {
      for (int pixel = 0; pixel < 1024; ++pixel) {
        const auto value = (i % 10000 + 7 * (plane * 1024 + pixel)) % 251;
        wrong += set.train.pixels[static_cast<std::size_t>(i * 3072 + pixel * 3 + plane)] != value;
      }
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("damaged CIFAR-10 files are named in one line", "[cifar]") {
  const ScratchFolder scratch;
  make_cifar10(scratch.path());
  const auto read = [&] { read_cifar(scratch.path(), "cifar10"); };
  const std::string whole = read_text(scratch / "test_batch.bin");

  SECTION("truncated") {
    replace(scratch / "data_batch_3.bin", whole.substr(0, whole.size() - 1));
    const std::string message = message_of(ErrorKind::data, read);
    CHECK(contains(message, (scratch / "data_batch_3.bin").string() + " has 30729999 bytes"));
    CHECK(contains(message, "expected 30730000"));
    CHECK(contains(message, "zeroth data fetch cifar10"));
  }
  SECTION("an HTML page") {
    replace(scratch / "data_batch_1.bin", "<!DOCTYPE html><html>log in</html>");
    CHECK(contains(message_of(ErrorKind::data, read), "HTML page"));
  }
  SECTION("empty") {
    replace(scratch / "test_batch.bin", "");
    CHECK(contains(message_of(ErrorKind::data, read), "has 0 bytes"));
  }
  SECTION("a label out of range") {
    std::string bad = whole;
    bad[17 * 3073] = static_cast<char>(200);
    replace(scratch / "data_batch_2.bin", bad);
    CHECK(contains(message_of(ErrorKind::data, read),
                   "data_batch_2.bin: record 17 has label 200, expected 0 to 9"));
  }
  SECTION("missing files, all of them at once") {
    fs::remove(scratch / "data_batch_2.bin");
    fs::remove(scratch / "test_batch.bin");
    CHECK(contains(message_of(ErrorKind::data, read), "lacks data_batch_2.bin, test_batch.bin of cifar10"));
  }
  SECTION("a folder in place of a file") {
    fs::remove(scratch / "test_batch.bin");
    fs::create_directory(scratch / "test_batch.bin");
    CHECK(contains(message_of(ErrorKind::data, read), "test_batch.bin"));
  }
  SECTION("unreadable") {
    fs::permissions(scratch / "data_batch_1.bin", fs::perms::none);
    if (::geteuid() != 0) CHECK(contains(message_of(ErrorKind::data, read), "cannot read"));
  }
  SECTION("the wrong number of class names") {
    write_text(scratch / "batches.meta.txt", "a\nb\n\n");
    CHECK(contains(message_of(ErrorKind::data, read), "names 2 classes, expected 10"));
  }
}

TEST_CASE("CIFAR-100 takes the fine label", "[cifar]") {
  const ScratchFolder scratch;
  write_text(scratch / "train.bin", make_records(50000, 2, 100));
  write_text(scratch / "test.bin", make_records(10000, 2, 100));
  const DatasetLocation location = find_dataset(scratch.path().string());
  CHECK(location.name == "cifar100");
  const VerifyReport report = verify_dataset(scratch.path().string());
  CHECK(report.balanced());
  CHECK(report.train_per_class == std::vector<std::int64_t>(100, 500));
  CHECK(report.test_per_class == std::vector<std::int64_t>(100, 100));
  CHECK(contains(report.summary(), "not the official files (0 of 2"));
  const Dataset set = load_dataset(location);
  CHECK(set.train.labels[157] == 57);
  CHECK(set.class_names.size() == 100);
  CHECK(set.train.pixels[1] == (7 * 1024) % 251);
}

TEST_CASE("a generated set survives the disk", "[cifar]") {
  const ScratchFolder scratch;
  const Dataset made = generate_dataset(3, 100, 20);
  write_cifar10_layout(made, scratch / "set");
  CHECK(fs::file_size(scratch / "set/data_batch_5.bin") == 20 * 3073);
  const DatasetLocation location = find_dataset((scratch / "set").string());
  CHECK(location.name == "generated");
  const Dataset read = load_dataset(location);
  CHECK(read.content_hash == made.content_hash);
  CHECK(read.train.pixels == made.train.pixels);
  CHECK(read.test.labels == made.test.labels);
  CHECK(read.class_names == made.class_names);
  CHECK(read.origin == DataOrigin::generated);
  CHECK(contains(verify_dataset((scratch / "set").string()).summary(),
                 "100 training pictures (10 of each class)"));

  CHECK(contains(message_of(ErrorKind::usage, [&] { write_cifar10_layout(made, scratch / "set"); }),
                 "not empty"));
  message_of(ErrorKind::usage,
             [&] { write_cifar10_layout(generate_dataset(3, 101, 20), scratch / "other"); });
  // Nothing half made stays behind.
  CHECK(std::distance(fs::directory_iterator(scratch.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("the content hash sees every part", "[cifar]") {
  const Dataset set = generate_dataset(0, 10, 10);
  Pictures changed = set.train;
  changed.pixels[12345] ^= 1;
  CHECK(content_hash_of(changed, set.test) != set.content_hash);
  changed = set.train;
  changed.labels[3] = 4;
  CHECK(content_hash_of(changed, set.test) != set.content_hash);
  CHECK(content_hash_of(set.test, set.train) != set.content_hash);
  CHECK(content_hash_of(set.train, set.test) == set.content_hash);
}

TEST_CASE("digests of the standards' examples", "[cifar]") {
  const std::string text = "abc";  // FIPS 180-4
  CHECK(sha256_of({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(digest_of(DigestKind::md5, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}) ==
        "900150983cd24fb0d6963f7d28e17f72");  // RFC 1321
}

TEST_CASE("lookup by name and by folder", "[lookup]") {
  const ScratchFolder scratch;
  const EnvironmentGuard cache("XDG_CACHE_HOME", (scratch / "cache").string());
  const EnvironmentGuard unset("ZEROTH_DATA", std::nullopt);

  SECTION("nothing there") {
    const std::string message = message_of(ErrorKind::data, [] { find_dataset("cifar10"); });
    CHECK(contains(message, (scratch / "cache/zeroth").string()));
    CHECK(contains(message, "zeroth data fetch cifar10"));
    CHECK_FALSE(find_default_dataset().has_value());
    CHECK(find_dataset("generated").folder.empty());
    CHECK(contains(message_of(ErrorKind::data, [] { find_dataset("imagenet"); }), "known names are cifar10"));
  }
  SECTION("in the cache, then in ZEROTH_DATA") {
    write_text(scratch / "cache/zeroth/cifar-10-batches-bin/test_batch.bin", "");
    CHECK(find_dataset("cifar10").folder == scratch / "cache/zeroth/cifar-10-batches-bin");
    write_text(scratch / "mine/test_batch.bin", "");
    const EnvironmentGuard data("ZEROTH_DATA", (scratch / "mine").string());
    CHECK(find_dataset("cifar10").folder == scratch / "mine");
    CHECK(find_default_dataset()->folder == scratch / "mine");
    message_of(ErrorKind::data, [] { find_dataset("cifar100"); });
  }
  SECTION("a mistyped ZEROTH_DATA is no silent fallback") {
    const EnvironmentGuard data("ZEROTH_DATA", (scratch / "typo").string());
    CHECK(contains(message_of(ErrorKind::data, [] { find_default_dataset(); }), "ZEROTH_DATA is"));
  }
  SECTION("a folder") {
    write_text(scratch / "both/cifar-10-batches-bin/test_batch.bin", "");
    CHECK(find_dataset((scratch / "both").string()).name == "cifar10");
    write_text(scratch / "both/cifar-100-binary/train.bin", "");
    CHECK(contains(message_of(ErrorKind::data, [&] { find_dataset((scratch / "both").string()); }),
                   "give one"));
    const EnvironmentGuard data("ZEROTH_DATA", (scratch / "both").string());
    CHECK(find_dataset("cifar100").folder == scratch / "both/cifar-100-binary");
    fs::create_directory(scratch / "empty");
    CHECK(contains(message_of(ErrorKind::data, [&] { find_dataset((scratch / "empty").string()); }),
                   "no data set in"));
    write_text(scratch / "packed/cifar-10-binary.tar.gz", "x");
    CHECK(contains(message_of(ErrorKind::data, [&] { find_dataset((scratch / "packed").string()); }),
                   "still packed"));
    write_text(scratch / "pickle/data_batch_1", "x");
    CHECK(contains(message_of(ErrorKind::data, [&] { find_dataset((scratch / "pickle").string()); }),
                   "Python version"));
    CHECK(contains(
        message_of(ErrorKind::data, [&] { find_dataset((scratch / "pickle/data_batch_1").string()); }),
        "is a file"));
  }
}

}  // namespace zeroth::test
