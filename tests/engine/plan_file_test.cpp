#include "engine/plan_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <vector>

#include "tests/catch.h"
#include "tests/data/scratch.h"

using namespace zeroth;
using zeroth::test::ScratchFolder;
namespace fs = std::filesystem;

namespace {

constexpr const char* kProblem =
    "cuDNN 91300, NVIDIA H200 9.0: conv2d forward 128x32x32x16 * 16x3x3 /1 +1 bf16";

/// A folder for two files, and what was told of them.
class Files {
 public:
  fs::path run() const { return folder_.path() / "run" / "plans.json"; }
  fs::path user() const { return folder_.path() / "cache" / "zeroth" / "plans.json"; }
  std::vector<std::string> told;

  PlanFile open() { return open(run(), user()); }
  PlanFile open(const fs::path& run_file, const fs::path& user_file) {
    return PlanFile(run_file, user_file, [this](const std::string& line) { told.push_back(line); });
  }

 private:
  ScratchFolder folder_;
};

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace

TEST_CASE("a plan that was stored is found again", "[plan_file]") {
  Files files;
  PlanFile first = files.open();
  CHECK_FALSE(first.find(kProblem));
  first.store(kProblem, "12 2=1 14=3");
  CHECK(first.find(kProblem) == "12 2=1 14=3");
  first.store("other", "7");
  first.store("other", "8");
  CHECK(files.open().find(kProblem) == "12 2=1 14=3");
  CHECK(files.open().find("other") == "8");
  CHECK(files.open(files.run(), {}).find(kProblem) == "12 2=1 14=3");
  CHECK(files.open({}, files.user()).find(kProblem) == "12 2=1 14=3");
  CHECK(files.told.empty());
}

TEST_CASE("plans of another GPU or version of cuDNN are other problems", "[plan_file]") {
  Files files;
  files.open().store(kProblem, "12");
  for (const char* other : {"cuDNN 91400, NVIDIA H200 9.0: conv2d forward 128x32x32x16 * 16x3x3 /1 +1 bf16",
                            "cuDNN 91300, NVIDIA A100 8.0: conv2d forward 128x32x32x16 * 16x3x3 /1 +1 bf16"})
    CHECK_FALSE(files.open().find(other));
}

TEST_CASE("a run keeps its own plans", "[plan_file]") {
  Files files;
  files.open({}, files.user()).store(kProblem, "of the user");
  // A new run takes the user's, and has it from then on.
  CHECK(files.open().find(kProblem) == "of the user");
  files.open({}, files.user()).store(kProblem, "a later one");
  CHECK(files.open().find(kProblem) == "of the user");
  fs::remove(files.user());
  CHECK(files.open().find(kProblem) == "of the user");
  CHECK(files.told.empty());
}

TEST_CASE("processes that share a file keep each other's plans", "[plan_file]") {
  Files files;
  PlanFile one = files.open({}, files.user()), two = files.open({}, files.user());
  one.store("a", "1");
  two.store("b", "2");
  one.store("c", "3");
  PlanFile later = files.open({}, files.user());
  CHECK(later.find("a") == "1");
  CHECK(later.find("b") == "2");
  CHECK(later.find("c") == "3");
}

TEST_CASE("a damaged file of plans is told of and replaced", "[plan_file]") {
  Files files;
  files.open().store(kProblem, "12 2=1");
  const std::string whole = read(files.user());
  std::vector<std::string> damaged = {"", "no JSON", "[1, 2]", "null", "\xff\xfe"};
  for (std::size_t length = 1; length < whole.size() - 2; length += 7)
    damaged.push_back(whole.substr(0, length));
  std::string turned = whole;
  turned.replace(turned.find("2=1"), 3, "2=2");
  damaged.push_back(turned);  // the checksum knows
  for (const std::string& text : damaged) {
    INFO(text);
    files.told.clear();
    write(files.user(), text);
    PlanFile plans = files.open({}, files.user());
    CHECK_FALSE(plans.find(kProblem));
    REQUIRE(files.told.size() == 1);
    CHECK(files.told[0].find(files.user().string() + " is damaged (") == 0);
    CHECK(files.told[0].find('\n') == std::string::npos);
    // What is stored next makes it whole.
    files.told.clear();
    plans = files.open({}, files.user());
    plans.store(kProblem, "13");
    files.told.clear();
    CHECK(files.open({}, files.user()).find(kProblem) == "13");
    CHECK(files.told.empty());
  }
}

TEST_CASE("a file of plans of another version is left alone", "[plan_file]") {
  Files files;
  for (const char* text : {R"({"format": "zeroth-plans", "version": 2, "plans": 5})",
                           R"({"format": "else", "version": 1})", R"({})"}) {
    files.told.clear();
    write(files.user(), text);
    PlanFile plans = files.open({}, files.user());
    plans.store(kProblem, "12");
    CHECK(plans.find(kProblem) == "12");  // within this process
    CHECK(read(files.user()) == text);
    REQUIRE(files.told.size() == 1);
    CHECK(files.told[0].find("was written by another version") != std::string::npos);
  }
}

TEST_CASE("a file of plans that cannot be written is told of once", "[plan_file]") {
  Files files;
  write(files.user().parent_path(), "a file where a folder should be");
  PlanFile plans = files.open({}, files.user());
  plans.store("a", "1");
  plans.store("b", "2");
  CHECK(plans.find("a") == "1");
  REQUIRE(files.told.size() == 1);
  CHECK(files.told[0].find("plans that were chosen by timing are not kept: ") == 0);
}

TEST_CASE("fnv1a has its published values", "[plan_file]") {
  CHECK(fnv1a("") == 0xcbf29ce484222325u);
  CHECK(fnv1a("a") == 0xaf63dc4c8601ec8cu);
  CHECK(fnv1a("foobar") == 0x85944171f73967e8u);
}
