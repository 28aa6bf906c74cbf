#include "engine/run_log.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/data/scratch.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

StepRecord step_record(std::int64_t step) {
  StepRecord record;
  record.step = step;
  record.epoch = static_cast<double>(step) / 10.0;
  record.loss = 1.0 / static_cast<double>(step);
  record.error = 0.25;
  record.learning_rate = 0.1;
  record.images_per_second = 640.0;
  return record;
}

EpochRecord epoch_record(std::int64_t epoch) {
  EpochRecord record;
  record.epoch = epoch;
  record.step = epoch * 10;
  record.learning_rate = 0.1;
  record.train = {0.5, 0.25};
  record.test = SetResult{0.75, 0.125};
  record.images_per_second = 640.0;
  record.seconds = 2.5;
  record.gradient_norm = 0.375;
  record.skipped_steps = 3;
  return record;
}

void write_steps(RunLog& log, std::int64_t begin, std::int64_t end) {
  for (std::int64_t step = begin; step <= end; ++step) {
    log.write(step_record(step));
    if (step % 10 == 0) log.write(epoch_record(step / 10));
  }
}

std::vector<std::string> lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> all;
  for (std::string line; std::getline(stream, line);) all.push_back(line);
  return all;
}

}  // namespace

TEST_CASE("run log: one JSON object a line, one row an epoch", "[run_log]") {
  const ScratchFolder scratch;
  RunLog log(scratch.path(), "generated", 0);
  StepRecord record = step_record(3);
  record.of_ceiling = 0.5;
  record.gradient_norm = 1.25;
  record.loss_scale = 32768.0;
  record.skipped_steps = 2;
  log.write(record);
  record.loss = std::numeric_limits<double>::quiet_NaN();
  log.write(record);
  log.write(epoch_record(1));

  const std::vector<std::string> steps = lines(read_text(scratch / "log.jsonl"));
  REQUIRE(steps.size() == 2);
  const nlohmann::json first = nlohmann::json::parse(steps[0]);
  CHECK(first["step"] == 3);
  CHECK(first["loss"] == 1.0 / 3.0);  // every digit survives
  CHECK(first["lr"] == 0.1);
  CHECK(first["images_per_second"] == 640.0);
  CHECK(first["fraction_of_ceiling"] == 0.5);
  CHECK(first["gradient_norm"] == 1.25);
  CHECK(first["loss_scale"] == 32768.0);
  CHECK(first["skipped_steps"] == 2);
  CHECK(first["data"] == "generated");
  CHECK(nlohmann::json::parse(steps[1])["loss"].is_null());

  const std::vector<std::string> rows = lines(read_text(scratch / "summary.csv"));
  REQUIRE(rows.size() == 2);
  CHECK(rows[0] ==
        "epoch,step,lr,train_loss,train_error,validation_loss,validation_error,test_loss,test_error,"
        "images_per_second,seconds,gradient_norm,loss_scale,skipped_steps,data");
  CHECK(rows[1] == "1,10,0.1,0.5,0.25,,,0.75,0.125,640,2.5,0.375,,3,generated");
}

TEST_CASE("run log: resuming cuts what lies beyond the checkpoint", "[run_log]") {
  const ScratchFolder straight, resumed;
  {
    RunLog log(straight.path(), "cifar10", 0);
    write_steps(log, 1, 35);
  }
  {
    RunLog log(resumed.path(), "cifar10", 0);
    write_steps(log, 1, 27);
  }
  // As a crash leaves it: a line that ends early.
  write_text(resumed / "log.jsonl", read_text(resumed / "log.jsonl") + "{\"step\":28,\"ep");
  write_text(resumed / "summary.csv", read_text(resumed / "summary.csv") + "3,3");
  {
    RunLog log(resumed.path(), "cifar10", 20);
    CHECK(lines(read_text(resumed / "log.jsonl")).size() == 20);
    CHECK(lines(read_text(resumed / "summary.csv")).size() == 3);
    write_steps(log, 21, 35);
  }
  CHECK(read_text(straight / "log.jsonl") == read_text(resumed / "log.jsonl"));
  CHECK(read_text(straight / "summary.csv") == read_text(resumed / "summary.csv"));

  const RunLog anew(resumed.path(), "cifar10", 0);
  CHECK(read_text(resumed / "log.jsonl").empty());
  CHECK(lines(read_text(resumed / "summary.csv")).size() == 1);
}

TEST_CASE("run log: a missing log is begun, a foreign one is refused", "[run_log]") {
  const ScratchFolder scratch;
  { const RunLog log(scratch.path(), "cifar10", 20); }
  CHECK(lines(read_text(scratch / "summary.csv")).size() == 1);
  write_text(scratch / "log.jsonl", "{\"step\":1}\nnot JSON\n");
  CHECK(contains(message_of(ErrorKind::data, [&] { RunLog(scratch.path(), "cifar10", 20); }),
                 "log.jsonl: record 2 has no step"));
  write_text(scratch / "log.jsonl", "");
  write_text(scratch / "summary.csv", "a,b\n");
  CHECK(contains(message_of(ErrorKind::data, [&] { RunLog(scratch.path(), "cifar10", 20); }),
                 "summary.csv: record 1 has no step"));
  CHECK(contains(message_of(ErrorKind::runtime, [&] { RunLog(scratch / "absent", "cifar10", 0); }),
                 "No such file or directory"));
}
