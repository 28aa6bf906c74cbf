// A tar archive, unpacked in this process. Where the first byte is even, the rest is packed first (stored, so
// that what libFuzzer changes stays what it is); else it is the packed file. Afterwards only the two expected
// files may be there, and only below the target folder.
#include <zlib.h>

#include <set>

#include "data/archive_reader.h"
#include "tests/fuzz/target.h"

namespace zeroth::fuzz {
namespace fs = std::filesystem;

namespace {

std::vector<std::uint8_t> stored_as_gzip(Bytes bytes) {
  std::vector<std::uint8_t> packed(bytes.size() + bytes.size() / 100 + 1000);
  z_stream stream{};
  expect(deflateInit2(&stream, 0, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK, "zlib");
  stream.next_in = const_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  expect(deflate(&stream, Z_FINISH) == Z_STREAM_END, "zlib");
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

}  // namespace

void fuzz(Bytes input) {
  if (input.empty()) return;
  const fs::path outer = scratch() / "outer", folder = outer / "in", archive = scratch() / "fuzzed.tar.gz";
  fs::remove_all(outer);
  fs::create_directories(folder);
  if (input[0] % 2 == 0) {
    write_file(archive, stored_as_gzip(input.subspan(1)));
  } else {
    write_file(archive, input.subspan(1));
  }
  expect_answer([&] {
    ArchiveReader reader(archive, "set", {{"a.bin", {16, true}}, {"names.txt", {0, false}}}, folder);
    while (reader.step()) {
    }
  });
  const std::set<fs::path> expected = {folder, folder / "a.bin", folder / "names.txt"};
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(outer)) {
    expect(expected.contains(entry.path()), "unpacked " + entry.path().string());
    expect(!entry.is_symlink(), "unpacked a symbolic link");
  }
}

}  // namespace zeroth::fuzz
