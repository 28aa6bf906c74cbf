// A run folder's log: a part with log.jsonl, then summary.csv.
#include "engine/run_log.h"

#include "engine/read_run_log.h"
#include "tests/fuzz/target.h"

namespace zeroth::fuzz {

void fuzz(Bytes input) {
  const Bytes steps = take_part(input);
  write_file(scratch() / "log.jsonl", steps);
  write_file(scratch() / "summary.csv", input);
  expect_answer([&] { read_run_log(scratch()).validated(); });
  expect_answer([&] { RunLog(scratch(), "generated", 10); });  // what a resumed run cuts
}

}  // namespace zeroth::fuzz
