#include "engine/safetensors.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "engine/atomic_file.h"
#include "tests/data/scratch.h"

using namespace zeroth;
using namespace zeroth::test;
namespace fs = std::filesystem;

namespace {

template <class T>
SafetensorsEntry entry(const std::string& name, const Shape& shape, const std::vector<T>& values) {
  return {name, dtype_of<T>, shape, std::as_bytes(std::span(values))};
}

/// A file with this header and as many bytes 0, 1, 2, ... behind it.
void write_raw(const fs::path& path, const std::string& header, std::size_t data_bytes) {
  std::string text;
  for (int i = 0; i < 8; ++i) text += static_cast<char>(header.size() >> (8 * i));
  text += header;
  for (std::size_t i = 0; i < data_bytes; ++i) text += static_cast<char>(i);
  write_text(path, text);
}

std::string refusal(const std::string& header, std::size_t data_bytes) {
  const ScratchFolder scratch;
  write_raw(scratch / "x.safetensors", header, data_bytes);
  const std::string message =
      message_of(ErrorKind::data, [&] { SafetensorsFile file(scratch / "x.safetensors"); });
  CHECK(contains(message, "x.safetensors"));
  return message;
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets +
         "}";
}

}  // namespace

TEST_CASE("safetensors: what is written is read, every dtype, scalars and empty tensors", "[safetensors]") {
  const ScratchFolder scratch;
  const std::vector<double> d{1.5, -2.25};
  const std::vector<float> f{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  const std::vector<f16> h{{0x3c00}, {0x7e00}, {0xffff}};
  const std::vector<bf16> b{{0x3f80}};
  const std::vector<std::int32_t> i{-1, 2147483647};
  const std::vector<std::uint8_t> u{0, 255, 7};
  const std::vector<float> scalar{-0.0f}, none;
  const std::vector<SafetensorsEntry> written{
      entry("u", {3}, u),          entry("conv1.weight", {2, 2, 2, 2}, f),
      entry("scalar", {}, scalar), entry("empty", {0, 3}, none),
      entry("h", {3, 1}, h),       entry("b", {1}, b),
      entry("i", {2}, i),          entry("d", {1, 2, 1}, d)};
  const SafetensorsMetadata metadata{{"step", "390"}, {"text", "a \"quoted\"\nline, \u00e9"}};
  write_safetensors(scratch / "a.safetensors", written, metadata);

  const SafetensorsFile file(scratch / "a.safetensors");
  CHECK(file.metadata() == metadata);
  REQUIRE(file.tensors().size() == written.size());
  for (const SafetensorsEntry& expected : written) {
    CAPTURE(expected.name);
    const SafetensorsEntry* found = file.find(expected.name);
    REQUIRE(found != nullptr);
    CHECK(found->dtype == expected.dtype);
    CHECK(found->shape == expected.shape);
    REQUIRE(found->bytes.size() == expected.bytes.size());
    if (!expected.bytes.empty())
      CHECK(std::memcmp(found->bytes.data(), expected.bytes.data(), expected.bytes.size()) == 0);
  }
  CHECK(file.find("absent") == nullptr);
  for (std::size_t t = 1; t < file.tensors().size(); ++t)
    CHECK(size_of(file.tensors()[t - 1].dtype) >= size_of(file.tensors()[t].dtype));

  write_safetensors(scratch / "b.safetensors", written, metadata);
  CHECK(read_text(scratch / "a.safetensors") == read_text(scratch / "b.safetensors"));
}

TEST_CASE("safetensors: the smallest files", "[safetensors]") {
  const ScratchFolder scratch;
  write_safetensors(scratch / "a.safetensors", {}, {});
  const SafetensorsFile file(scratch / "a.safetensors");
  CHECK(file.tensors().empty());
  CHECK(file.metadata().empty());
  write_raw(scratch / "b.safetensors", "{" + tensor("w", "U8", "[3]", "[0,3]") + "}   ", 3);
  const SafetensorsFile padded(scratch / "b.safetensors");
  REQUIRE(padded.find("w") != nullptr);
  CHECK(padded.find("w")->bytes[2] == std::byte{2});
}

TEST_CASE("safetensors: tensors of dtypes that zeroth has not are passed over", "[safetensors]") {
  const ScratchFolder scratch;
  write_raw(scratch / "a.safetensors",
            "{" + tensor("a", "U8", "[2]", "[0,2]") + "," + tensor("n", "I64", "[]", "[2,10]") + "," +
                tensor("b", "U8", "[1]", "[10,11]") + "}",
            11);
  const SafetensorsFile file(scratch / "a.safetensors");
  CHECK(file.tensors().size() == 2);
  CHECK(file.find("n") == nullptr);
  REQUIRE(file.find("b") != nullptr);
  CHECK(file.find("b")->bytes[0] == std::byte{10});
}

TEST_CASE("safetensors: damaged headers are refused by name", "[safetensors]") {
  const std::string good = tensor("w", "F32", "[2]", "[0,8]");
  CHECK(contains(refusal("[1]", 0), "does not start with '{'"));
  CHECK(contains(refusal(" {}", 0), "does not start with '{'"));
  CHECK(contains(refusal("", 0), "does not start with '{'"));
  CHECK(contains(refusal("{", 0), "not JSON"));
  CHECK(contains(refusal("{} x", 0), "not JSON"));
  CHECK(contains(refusal("{\"a\xff\":1}", 0), "not UTF-8"));
  CHECK(contains(refusal("{\"a\xc0\xaf\":1}", 0), "not UTF-8"));
  CHECK(contains(refusal("{" + good + "," + good + "}", 8), "'w' twice"));
  CHECK(contains(
      refusal("{\"w\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8),
      "'dtype' twice"));
  CHECK(contains(refusal("{\"a\":" + std::string(100'000, '[') + "}", 0), "nested deeper"));
  CHECK(contains(refusal("{\"w\":3}", 0), "has no dtype"));
  CHECK(contains(refusal("{\"w\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8), "has no data_offsets"));
  CHECK(contains(refusal("{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8),
                 "keys the format does not know"));
  CHECK(contains(refusal("{\"__metadata__\":{\"a\":1}}", 0), "'a' is not text"));
  CHECK(contains(refusal("{\"__metadata__\":[]}", 0), "not an object"));
  // A name may hold what would end the line or command a terminal.
  CHECK(contains(refusal("{\"a\\n\\u001b[2J\":3}", 0), "tensor 'a\\x0a\\x1b[2J' has no dtype"));
}

TEST_CASE("safetensors: wrong shapes, offsets and dtypes are refused by name", "[safetensors]") {
  const auto one = [](const char* dtype, const char* shape, const char* offsets) {
    return "{" + tensor("w", dtype, shape, offsets) + "}";
  };
  CHECK(contains(refusal(one("F31", "[2]", "[0,8]"), 8), "dtype F31"));
  CHECK(contains(refusal(one("I64", "[2]", "[0,8]"), 8), "(2) I64 needs 16 bytes and has 8"));
  CHECK(contains(refusal(one("F32", "[3]", "[0,8]"), 8), "needs 12 bytes and has 8"));
  CHECK(contains(refusal(one("F32", "[-2]", "[0,8]"), 8), "shape of tensor 'w'"));
  CHECK(contains(refusal(one("F32", "[2.0]", "[0,8]"), 8), "shape of tensor 'w'"));
  CHECK(contains(refusal(one("F32", "[1e400]", "[0,8]"), 8), "out of range"));
  CHECK(contains(refusal(one("F32", "[1,1,1,1,2]", "[0,8]"), 8), "5 extents"));
  CHECK(contains(refusal(one("F32", "[2]", "[8,0]"), 8), "data_offsets"));
  CHECK(contains(refusal(one("F32", "[2]", "[0,8,9]"), 8), "data_offsets"));
  CHECK(contains(refusal(one("F32", "[2]", "[4,12]"), 12), "a hole before tensor 'w'"));
  CHECK(contains(refusal(one("F32", "[2]", "[0,8]"), 9), "take 8 bytes, but 9 follow"));
  CHECK(contains(refusal(one("F32", "[2]", "[0,8]"), 7), "take 8 bytes, but 7 follow"));
  // 2^62 * 4 elements of 4 bytes wrap to 0 in 64 bits, and 2^63 is no signed extent.
  CHECK(contains(refusal(one("F32", "[4611686018427387904,4]", "[0,0]"), 0), "overflows"));
  CHECK(contains(refusal(one("U8", "[9223372036854775808]", "[0,0]"), 0), "overflows"));
  CHECK(contains(refusal(one("F32", "[4611686018427387904,4,0]", "[0,0]"), 0), "overflows"));
  const std::string two = tensor("a", "U8", "[4]", "[0,4]") + ",";
  CHECK(contains(refusal("{" + two + tensor("b", "U8", "[4]", "[3,7]") + "}", 7),
                 "an overlap before tensor 'b'"));
  CHECK(
      contains(refusal("{" + two + tensor("b", "U8", "[4]", "[5,9]") + "}", 9), "a hole before tensor 'b'"));
}

TEST_CASE("safetensors: truncated and foreign files are refused by name", "[safetensors]") {
  const ScratchFolder scratch;
  const fs::path path = scratch / "a.safetensors";
  const auto reason = [&] { return message_of(ErrorKind::data, [&] { SafetensorsFile file(path); }); };
  CHECK(contains(reason(), "cannot read"));
  CHECK(
      contains(message_of(ErrorKind::data, [&] { SafetensorsFile file(scratch.path()); }), "it is no file"));
  write_text(path, "");
  CHECK(contains(reason(), "0 bytes"));
  write_text(path, "\x07");
  CHECK(contains(reason(), "1 bytes"));
  write_text(path, std::string("\x00\xe1\xf5\x05\x00\x00\x00\x00{}", 10));  // 100,000,000
  CHECK(contains(reason(), "reaches past its end"));
  write_text(path, std::string("\x01\xe1\xf5\x05\x00\x00\x00\x00{}", 10));
  CHECK(contains(reason(), "more than 100 MB"));
  write_text(path, std::string(8, '\xff') + "{}");
  CHECK(contains(reason(), "more than 100 MB"));
  write_text(path, "<!DOCTYPE html><html></html>");
  CHECK(contains(reason(), "more than 100 MB"));

  const std::vector<float> f{1, 2, 3};
  write_safetensors(path, std::vector{entry("w", {3}, f)}, {});
  const std::string whole = read_text(path);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    write_text(path, whole.substr(0, length));
    CHECK_THROWS_AS(SafetensorsFile(path), Error);
  }
  write_text(path, whole);
  CHECK(SafetensorsFile(path).tensors().size() == 1);
}

TEST_CASE("safetensors: what cannot be written is a usage error", "[safetensors]") {
  const ScratchFolder scratch;
  const fs::path path = scratch / "a.safetensors";
  const std::vector<float> f{1, 2};
  const auto reason = [&](const std::vector<SafetensorsEntry>& tensors, const SafetensorsMetadata& metadata) {
    const std::string message =
        message_of(ErrorKind::usage, [&] { write_safetensors(path, tensors, metadata); });
    CHECK_FALSE(fs::exists(path));
    return message;
  };
  CHECK(contains(reason({entry("w", {2}, f), entry("w", {2}, f)}, {}), "second 'w'"));
  CHECK(contains(reason({entry("__metadata__", {2}, f)}, {}), "__metadata__"));
  CHECK(contains(reason({entry("w", {3}, f)}, {}), "has 8 bytes"));
  CHECK(contains(reason({entry("w\xff", {2}, f)}, {}), "UTF-8"));
  CHECK(contains(reason({}, {{"a", "\xff"}}), "UTF-8"));
}

TEST_CASE("a write that fails leaves the old file and no temporary one", "[safetensors][atomic_file]") {
  const ScratchFolder scratch;
  const fs::path path = scratch / "a.safetensors";
  const std::vector<float> small{1, 2}, large(100'000);
  write_safetensors(path, std::vector{entry("w", {2}, small)}, {});
  const std::string before = read_text(path);

  // In a child, because a file size limit cannot be raised again.
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit limit{4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::signal(SIGXFSZ, SIG_IGN);
    try {
      write_safetensors(path, std::vector{entry("w", {100'000}, large)}, {});
    } catch (const Error& error) {
      const bool named = std::string(error.what()).find("a.safetensors: File too large") != std::string::npos;
      ::_exit(named ? static_cast<int>(error.kind()) : 99);
    }
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == static_cast<int>(ErrorKind::runtime));
  CHECK(read_text(path) == before);
  CHECK(std::distance(fs::directory_iterator(scratch.path()), {}) == 1);

  const std::string missing =
      message_of(ErrorKind::runtime, [&] { replace_file(scratch / "no" / "x", std::string_view("x")); });
  CHECK(contains(missing, "No such file or directory"));
  // A folder cannot be replaced by a file: rename fails after everything has been written.
  fs::create_directory(scratch / "folder");
  CHECK(contains(
      message_of(ErrorKind::runtime, [&] { replace_file(scratch / "folder", std::string_view("x")); }),
      "cannot replace"));
  CHECK(std::distance(fs::directory_iterator(scratch.path()), {}) == 2);
}

TEST_CASE("a full disk is an error", "[safetensors][atomic_file]") {
  // /dev/full cannot be renamed onto, so this goes through a link: the temporary file lies beside the link,
  // and only the device itself refuses bytes. A small tmpfs would need privileges.
  if (!fs::exists("/dev/full") || ::access("/dev/full", W_OK) != 0) return;
  const ScratchFolder scratch;
  const fs::path path = scratch / "a";
  fs::create_symlink("/dev/full", fs::path(path).concat(".tmp-" + std::to_string(::getpid())));
  write_text(path, "old");
  const std::string message =
      message_of(ErrorKind::runtime, [&] { replace_file(path, std::string_view("new")); });
  CHECK(contains(message, "No space left on device"));
  CHECK(read_text(path) == "old");
  CHECK(fs::exists("/dev/full"));
}
