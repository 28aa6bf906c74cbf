#include "data/manifest.h"

#include "data/cifar.h"
#include "data/digest.h"
#include "data/generated.h"
#include "data/verify.h"
#include "tests/data/scratch.h"

using namespace zeroth;
using namespace zeroth::test;
namespace fs = std::filesystem;

TEST_CASE("a list of checksums is sha256sum's, and says what differs", "[manifest]") {
  const ScratchFolder scratch;
  CHECK_FALSE(check_manifest(scratch.path()));
  write_text(scratch / "b", "bb");
  write_text(scratch / "a", "");
  write_manifest(scratch.path(), {"b", "a"});
  const std::string empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  const std::vector<std::uint8_t> bytes{'b', 'b'};
  const std::string list = empty + "  a\n" + sha256_of(bytes) + "  b\n# 2 files\n";
  CHECK(read_text(scratch / kManifestName) == list);
  CHECK(check_manifest(scratch.path()));

  write_text(scratch / "b", "bc");
  CHECK(contains(message_of(ErrorKind::data, [&] { check_manifest(scratch.path()); }),
                 "damaged or was changed"));
  fs::remove(scratch / "b");
  CHECK(contains(message_of(ErrorKind::data, [&] { check_manifest(scratch.path()); }), "lacks b"));
  write_text(scratch / "b", "bb");
  for (const std::string& damaged :
       {std::string(), list.substr(0, list.size() - 1), list.substr(0, list.size() - 10), list + "\n",
        empty + "  ../a\n# 1 file\n", empty + " *a\n# 1 file\n", empty + "  a\n# 2 files\n"}) {
    CAPTURE(damaged);
    write_text(scratch / kManifestName, damaged);
    CHECK(contains(message_of(ErrorKind::data, [&] { check_manifest(scratch.path()); }),
                   "zeroth.sha256 is damaged"));
  }
}

TEST_CASE("a generated set is listed, and every flipped bit of its list is found", "[manifest]") {
  const ScratchFolder scratch;
  const fs::path folder = scratch / "set";
  write_cifar10_layout(generate_dataset(3, 10, 10), folder);
  CHECK(verify_dataset(folder.string()).listed);
  CHECK(contains(verify_dataset(folder.string()).summary(), "unchanged since zeroth.sha256 was written"));
  const std::string list = read_text(folder / kManifestName);
  std::size_t found = 0;
  for (std::size_t bit = 0; bit < 8 * list.size(); ++bit) {
    std::string damaged = list;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    write_text(folder / kManifestName, damaged);
    try {
      check_manifest(folder);
    } catch (const Error& error) {
      found += error.kind() == ErrorKind::data;
    }
  }
  CHECK(found == 8 * list.size());
}
