// The harness finds each planted fault and names its lines. A fault runs in a child process: sanitizers end
// theirs.

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "tests/catch.h"

namespace zeroth {

namespace {

const std::string kSanitize = ZEROTH_TEST_SANITIZE;

struct Outcome {
  int status = -1;
  std::string text;  // what the child wrote to either stream
};

Outcome run_fault(const std::string& name) {
  const std::string command = std::string(ZEROTH_SIMT_FAULTS) + " " + name + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Outcome outcome;
  std::array<char, 4096> buffer;
  for (std::size_t bytes; (bytes = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    outcome.text.append(buffer.data(), bytes);
  const int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

/// "faults.cu:LINE" for each line that ends in "// KIND: NAME".
std::vector<std::string> marked_lines(const std::string& kind, const std::string& name) {
  std::ifstream source(ZEROTH_SIMT_FAULTS_SOURCE);
  const std::string mark = "// " + kind + ": " + name;
  std::vector<std::string> lines;
  std::string line;
  for (int number = 1; std::getline(source, line); ++number)
    if (line.ends_with(mark)) lines.push_back("faults.cu:" + std::to_string(number));
  return lines;
}

void check_lines(const Outcome& outcome, const std::string& name, const std::string& kind = "culprit") {
  const std::vector<std::string> lines = marked_lines(kind, name);
  CHECK_FALSE(lines.empty());
  for (const std::string& line : lines) CHECK_THAT(outcome.text, ContainsSubstring(line));
}

constexpr int kReported = 3;

}  // namespace

TEST_CASE("faults of control flow are reported in every build, with their lines") {
  const std::string name =
      GENERATE("barrier_after_return", "barrier_in_branch", "shuffle_after_return", "shuffle_in_branch",
               "shuffle_outside_mask", "shuffle_from_absent_lane", "shuffle_in_partial_warp",
               "ballot_after_return", "warp_against_block", "endless_lock", "trapped", "too_much_shared");
  const std::string order = GENERATE("forward", "reverse", "random:7");
  CAPTURE(name, order);
  setenv("ZEROTH_SIMT_ORDER", order.c_str(), 1);
  const Outcome outcome = run_fault(name);
  unsetenv("ZEROTH_SIMT_ORDER");
  INFO(outcome.text);
  CHECK(outcome.status == kReported);
  check_lines(outcome, name);
  CHECK_THAT(outcome.text, ContainsSubstring("launched at"));
  CHECK_THAT(outcome.text, ContainsSubstring("zeroth::simt_native"));
}

TEST_CASE("a write past a shared array names the array in every build, its line under address sanitizer") {
  const Outcome outcome = run_fault("shared_overrun");
  INFO(outcome.text);
  CHECK(outcome.status != 0);
  CHECK_THAT(outcome.text, ContainsSubstring("'tile'"));
  check_lines(outcome, "shared_overrun", "declaration");
  if (kSanitize == "address") check_lines(outcome, "shared_overrun");
}

TEST_CASE("accesses out of bounds and reads of what nobody wrote name their line under address sanitizer") {
  const std::string name = GENERATE("dynamic_overrun", "global_overrun", "uninitialised",
                                    "uninitialised_in_second_block", "misaligned");
  if (kSanitize != "address") return;
  CAPTURE(name);
  const Outcome outcome = run_fault(name);
  INFO(outcome.text);
  CHECK(outcome.status != 0);
  check_lines(outcome, name);
  if (name == "uninitialised") {
    CHECK(outcome.status == kReported);
    check_lines(outcome, name, "declaration");
    CHECK_THAT(outcome.text, ContainsSubstring("launched at"));
  }
}

TEST_CASE("both lines of a race are named under thread sanitizer") {
  const std::string name = GENERATE("missing_barrier", "missing_second_barrier", "missing_syncwarp",
                                    "race_of_blocks", "plain_sum");
  if (kSanitize != "thread") return;
  CAPTURE(name);
  const Outcome outcome = run_fault(name);
  INFO(outcome.text);
  CHECK(outcome.status != 0);
  CHECK_THAT(outcome.text, ContainsSubstring("data race"));
  check_lines(outcome, name);
}

TEST_CASE("an order that does not exist is refused") {
  setenv("ZEROTH_SIMT_ORDER", "sideways", 1);
  const Outcome outcome = run_fault("trapped");
  unsetenv("ZEROTH_SIMT_ORDER");
  CHECK(outcome.status == kReported);
  CHECK_THAT(outcome.text, ContainsSubstring("ZEROTH_SIMT_ORDER is 'sideways'"));
}

}  // namespace zeroth
