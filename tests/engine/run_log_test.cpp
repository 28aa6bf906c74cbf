#include "engine/run_log.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/read_run_log.h"
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
  record.alphas = {{"layer1.0.alpha", 0.25}, {"layer10.0.alpha", -0.5}};
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
  CHECK(!first.contains("alphas"));
  CHECK(nlohmann::json::parse(steps[1])["alphas"]["layer10.0.alpha"] == -0.5);
  const RunRecords read = read_run_log(scratch.path());
  CHECK(read.steps[0].alphas.empty());
  CHECK(read.steps[1].alphas == record.alphas);  // in their order

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
                 "summary.csv has columns that this program does not write"));
  CHECK(contains(message_of(ErrorKind::runtime, [&] { RunLog(scratch / "absent", "cifar10", 0); }),
                 "No such file or directory"));
}

TEST_CASE("run log: what is read back is what was written", "[run_log]") {
  const ScratchFolder scratch;
  {
    RunLog log(scratch.path(), "letters, folded (unofficial)", 0);
    write_steps(log, 1, 20);
    EpochRecord validated = epoch_record(3);
    validated.test.reset();
    validated.validation = SetResult{1.5, 0.0625};
    validated.train.loss = std::numeric_limits<double>::quiet_NaN();
    log.write(validated);
  }
  write_text(scratch / "log.jsonl", read_text(scratch / "log.jsonl") + "{\"step\":2");  // being written
  const RunRecords records = read_run_log(scratch.path());
  CHECK(records.data == "letters, folded (unofficial)");
  REQUIRE(records.steps.size() == 20);
  CHECK(records.steps[4].step == 5);
  CHECK(records.steps[4].epoch == 0.5);
  CHECK(records.steps[4].loss == 0.2);
  CHECK(records.steps[4].learning_rate == 0.1);
  CHECK(!records.steps[4].of_ceiling);
  REQUIRE(records.epochs.size() == 3);
  CHECK(records.epochs[1].epoch == 2);
  CHECK(records.epochs[1].step == 20);
  REQUIRE(records.epochs[1].test);
  CHECK(records.epochs[1].test->error == 0.125);
  CHECK(!records.epochs[1].validation);
  CHECK(records.epochs[1].seconds == 2.5);
  CHECK(records.validated());
  CHECK(records.epochs[2].validation->loss == 1.5);
  CHECK(!records.epochs[2].test);
  CHECK(std::isnan(records.epochs[2].train.loss));
}

TEST_CASE("run log: what cannot be read back is refused by line", "[run_log]") {
  const ScratchFolder scratch;
  const auto refusal = [&] { return message_of(ErrorKind::data, [&] { read_run_log(scratch.path()); }); };
  CHECK(contains(refusal(), "log.jsonl"));
  { const RunLog log(scratch.path(), "cifar10", 0); }
  CHECK(contains(refusal(), "has no record yet"));
  write_text(scratch / "log.jsonl", "{\"step\":1}\n");
  CHECK(contains(refusal(), "log.jsonl:1: no record"));
  write_text(scratch / "log.jsonl", "");
  const std::string heading = read_text(scratch / "summary.csv");
  const std::string good = "1,2,0.1,0.5,0.5,,,0.5,0.5,1,1,,,,cifar10\n";
  write_text(scratch / "summary.csv", heading + good);
  CHECK(read_run_log(scratch.path()).epochs.size() == 1);
  for (const char* row :
       {"1,2\n", "1,2,0.1,0.5,0.5,,,x,0.5,1,1,,,,cifar10\n", "1,2,0.1,0.5,0.5,,,0.5,0.5,1,1,,,\n",
        "0,2,0.1,0.5,0.5,,,0.5,0.5,1,1,,,,cifar10\n", "1,2,0.1x,0.5,0.5,,,0.5,0.5,1,1,,,,cifar10\n"}) {
    write_text(scratch / "summary.csv", heading + row);
    CHECK(contains(refusal(), "summary.csv:2: no record"));
  }
  write_text(scratch / "summary.csv", "a,b\n" + good);
  CHECK(contains(refusal(), "summary.csv:2: no record"));
  // As runs had it before gradient norms were logged.
  write_text(scratch / "summary.csv",
             "epoch,step,lr,train_loss,train_error,validation_loss,validation_error,test_loss,test_error,"
             "images_per_second,seconds,data\n1,2,0.1,0.5,0.25,,,0.5,0.125,1,1,cifar10\n");
  const RunRecords older = read_run_log(scratch.path());
  REQUIRE(older.epochs.size() == 1);
  CHECK(older.epochs[0].test->error == 0.125);
  CHECK(!older.epochs[0].gradient_norm);
  CHECK(older.data == "cifar10");
}

TEST_CASE("run log: a table of before some columns gets them, and one of unknown columns is left alone",
          "[run_log]") {
  const ScratchFolder scratch;
  const auto table = scratch / "summary.csv";
  write_text(table,
             "epoch,step,lr,train_loss,train_error,test_loss,test_error,seconds,data\n"
             "1,10,0.1,0.5,0.25,0.75,0.125,2.5,mine, all\n2,20,0.1,0.5,0.25,,,2.5,mine, all\n3,30,0.");
  RunLog(scratch.path(), "mine, all", 10).write(epoch_record(2));
  const std::vector<std::string> rows = lines(read_text(table));
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].find("validation_loss") != std::string::npos);
  CHECK(rows[1] == "1,10,0.1,0.5,0.25,,,0.75,0.125,,2.5,,,,mine, all");
  const RunRecords records = read_run_log(scratch.path());
  CHECK(records.epochs.size() == 2);
  CHECK(records.epochs[0].test->error == 0.125);
  CHECK(!records.epochs[0].gradient_norm);

  const std::string foreign = "epoch,step,mood,data\n1,10,good,mine\n";
  write_text(table, foreign);
  const std::string message = message_of(ErrorKind::data, [&] { RunLog(scratch.path(), "mine", 10); });
  CHECK(contains(message, "summary.csv has columns that this program does not write"));
  CHECK(read_text(table) == foreign);
}
