#include "data/child_process.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "data/picture_folder.h"
#include "data/picture_reader.h"
#include "data/resize.h"
#include "tests/data/picture_writer.h"
#include "tests/data/scratch.h"

namespace zeroth::test {
namespace fs = std::filesystem;
namespace {

using Bytes = ChildProcess::Bytes;

/// What a child's answer says besides its own text.
Bytes echo(std::span<const std::uint8_t> question) {
  return {question.begin(), question.end()};
}

std::string failure_of(ChildProcess& child) {
  try {
    child.ask(Bytes{1});
  } catch (const ChildFailed& failure) {
    return failure.what();
  }
  return "";
}

RgbPicture white(const fs::path&) {
  return {8, 8, Bytes(8 * 8 * 3, 255)};
}

/// What a decoder might do to its process, by the name of the picture.
RgbPicture decode_badly(const fs::path& path) {
  const std::string name = path.filename().string();
  if (name == "crash.png") std::raise(SIGSEGV);
  if (name == "exit.png") ::_exit(9);
  RgbPicture large;
  if (name == "memory.png") large.pixels.reserve(std::size_t{1} << 40);
  if (name == "forever.png") {
    for (;;) ::pause();
  }
  return large.pixels.capacity() > 0 ? large : white(path);
}

}  // namespace

TEST_CASE("a child process answers", "[child]") {
  ChildProcess child(echo);
  CHECK(child.ask(Bytes{1, 2, 3}) == Bytes{1, 2, 3});
  CHECK(child.ask({}).empty());
  const Bytes large(std::size_t{3} << 20, 7);
  CHECK(child.ask(large) == large);
}

TEST_CASE("errors of a child arrive as they were thrown", "[child]") {
  int asked = 0;
  ChildProcess child([&](std::span<const std::uint8_t>) -> Bytes {
    if (++asked == 2) fail(ErrorKind::data, "second");
    return {static_cast<std::uint8_t>(asked)};
  });
  CHECK(child.ask({}) == Bytes{1});
  CHECK(message_of(ErrorKind::data, [&] { child.ask({}); }) == "second");
  CHECK(child.ask({}) == Bytes{1});  // anew
  CHECK(asked == 0);                 // here
}

TEST_CASE("a child that fails is told apart", "[child]") {
  SECTION("by a signal") {
    ChildProcess child([](std::span<const std::uint8_t>) -> Bytes { std::abort(); });
    CHECK(failure_of(child) == "ended with signal 6 (Aborted)");
  }
  SECTION("by an end") {
    ChildProcess child([](std::span<const std::uint8_t>) -> Bytes { ::_exit(9); });
    CHECK(failure_of(child) == "ended with exit status 9");
  }
  SECTION("by time") {
    ChildProcess child(
        [](std::span<const std::uint8_t>) -> Bytes {
          for (;;) ::pause();
        },
        {.answer = std::chrono::seconds(1)});
    CHECK(failure_of(child) == "gave no answer for 1 seconds");
  }
  SECTION("by another exception") {
    ChildProcess child([](std::span<const std::uint8_t>) -> Bytes { throw std::runtime_error("odd"); });
    CHECK(failure_of(child) == "failed: odd");
  }
}

TEST_CASE("a child's memory is limited", "[child]") {
  // Addresses are what is limited, so none needs to be touched.
  const auto map = [](std::span<const std::uint8_t> question) -> Bytes {
    const std::size_t bytes = std::size_t{question[0]} << 20;
    void* const block = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block == MAP_FAILED) throw std::bad_alloc();
    ::munmap(block, bytes);
    return {1};
  };
  ChildProcess child(map, {.memory = std::uint64_t{128} << 20});
  CHECK(child.ask(Bytes{64}) == Bytes{1});
  try {
    child.ask(Bytes{200});
    FAIL_CHECK("200 MB were there");
  } catch (const ChildFailed& failure) {
    CHECK(std::string(failure.what()) == "took more than 128 MB of memory");
  }
}

TEST_CASE("a child has none of the files that are open here, and hears no signals of a terminal", "[child]") {
  const ScratchFolder scratch;
  write_text(scratch / "open", "x");
  const int descriptor = ::open((scratch / "open").c_str(), O_RDONLY);
  REQUIRE(descriptor > 2);
  ChildProcess child([descriptor](std::span<const std::uint8_t>) -> Bytes {
    std::raise(SIGINT);
    std::raise(SIGTERM);
    const bool closed = descriptor == 3 || ::fcntl(descriptor, F_GETFD) < 0;  // 3 is the child's own
    const bool further = ::fcntl(descriptor + 1, F_GETFD) < 0;
    return {closed, further};
  });
  CHECK(child.ask({}) == Bytes{1, 1});
  ::close(descriptor);
}

TEST_CASE("a picture that breaks the decoder is named, and the reader goes on", "[child]") {
  PictureReader reader(decode_badly), hasty(decode_badly, {.answer = std::chrono::seconds(1)});
  Bytes square(4 * 4 * 3);
  const auto failure = [&](const std::string& name) {
    PictureReader& asked = name == "forever.png" ? hasty : reader;
    return message_of(ErrorKind::data, [&] { asked.read_square(name, 4, square); });
  };
  CHECK(failure("crash.png") ==
        "crash.png cannot be decoded: the decoder ended with signal 11 (Segmentation fault); repair it or "
        "remove it");
  CHECK(contains(failure("exit.png"), "exit.png cannot be decoded: the decoder ended with exit status 9"));
  CHECK(contains(failure("forever.png"), "forever.png cannot be decoded: the decoder gave no answer"));
#if !defined(__SANITIZE_ADDRESS__)  // which ends the process where memory does
  CHECK(contains(failure("memory.png"), "memory.png cannot be decoded: the decoder took more than 2048 MB"));
#endif
  reader.read_square("good.png", 4, square);
  CHECK(square == Bytes(4 * 4 * 3, 255));
}

TEST_CASE("the cost of decoding in child processes", "[.measure]") {
  const ScratchFolder scratch;
  for (int i = 0; i < 2000; ++i) {
    std::string pixels;
    for (int j = 0; j < 32 * 32 * 3; ++j) pixels += static_cast<char>(i + 7 * j + j * j / 50);
    write_text(
        scratch / "set" / (i % 2 == 0 ? "a" : "b") / (std::to_string(i) + (i % 4 < 2 ? ".png" : ".jpg")),
        i % 4 < 2 ? png_file(32, 32, 8, kRgb, pixels) : jpeg_file(32, 32, pixels));
  }
  const auto milliseconds = [](auto&& body) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  };
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(scratch / "set"))
    if (entry.is_regular_file()) files.push_back(entry.path());
  Bytes square(32 * 32 * 3);
  for (int round = 0; round < 5; ++round) {
    const double here = milliseconds([&] {
      for (const fs::path& file : files) {
        const RgbPicture picture = read_picture(file);
        resample_square(picture.pixels, picture.width, picture.height, 3, 32, square);
      }
    });
    const double child = milliseconds([&] {
      PictureReader reader;
      for (const fs::path& file : files) reader.read_square(file, 32, square);
    });
    const double folder = milliseconds([&] { read_picture_folder(scratch / "set"); });
    std::printf("2000 pictures of 32 x 32: in process %.1f ms, in a child %.1f ms, the folder %.1f ms\n",
                here, child, folder);
  }
}

}  // namespace zeroth::test
