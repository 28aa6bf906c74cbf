#include "engine/plateau.h"

#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "tests/catch.h"

using namespace zeroth;

namespace {

/// 1 - error after every epoch, of a published curve.
std::vector<double> accuracies(const std::string& network) {
  std::ifstream file(std::string(ZEROTH_FIXTURES) + "/published-curves/" + network + "_valid_error.csv");
  REQUIRE(file.is_open());
  std::string line;
  std::getline(file, line);
  std::vector<double> all;
  while (std::getline(file, line)) all.push_back(1.0 - std::stod(line.substr(line.find(',') + 1)));
  return all;
}

constexpr double kRate = 0.1;
constexpr std::int64_t kStopPatience = 60;

}  // namespace

TEST_CASE("cuts and stops come at the epochs of the published runs", "[plateau]") {
  struct Run {
    const char* network;
    std::vector<std::size_t> cuts;
    std::size_t stop;
  };
  const std::vector<Run> runs = {
      {"rezero20", {158, 211, 262, 313}, 327},  {"resnet20", {101, 152, 204, 258, 314}, 398},
      {"rezero56", {95, 146, 228, 279}, 303},   {"resnet56", {64, 119, 252}, 281},
      {"rezero110", {195, 246, 328, 381}, 410}, {"resnet110", {102, 153, 284}, 313}};
  for (const Run& run : runs) {
    INFO(run.network);
    const std::vector<double> curve = accuracies(run.network);
    PlateauState plateau;
    EarlyStopState early_stop;
    std::vector<std::size_t> cuts;
    std::size_t stop = 0;
    for (std::size_t epoch = 1; epoch <= curve.size() && stop == 0; ++epoch) {
      if (plateau.after_epoch({}, kRate, curve[epoch - 1])) cuts.push_back(epoch);
      early_stop.after_epoch(curve[epoch - 1]);
      if (early_stop.epochs_below >= kStopPatience) stop = epoch;
    }
    CHECK(cuts == run.cuts);
    CHECK(stop == run.stop);
    CHECK(stop == curve.size());  // there the published run ended
    CHECK(std::abs(plateau.scale - std::pow(0.1, static_cast<double>(cuts.size()))) < 1e-12);
  }
}

TEST_CASE("no cut goes below the least rate, and one too small is none", "[plateau]") {
  const PlateauRule rule{1e-4, 0.1, 1e-3, 0, 0};
  PlateauState state;
  CHECK_FALSE(state.after_epoch(rule, kRate, 0.5));
  CHECK(state.after_epoch(rule, kRate, 0.5));  // a tie is no better accuracy
  CHECK(state.after_epoch(rule, kRate, 0.5));
  CHECK(std::abs(state.scale * kRate - 1e-3) < 1e-15);
  CHECK_FALSE(state.after_epoch(rule, kRate, 0.5));
  CHECK(std::abs(state.scale * kRate - 1e-3) < 1e-15);
  CHECK_FALSE(state.after_epoch(rule, kRate, 0.6));
  CHECK(state.best == 0.6);
  CHECK_FALSE(state.after_epoch(rule, kRate, 0.60005));  // within the threshold, and nothing left to cut
  CHECK(state.best == 0.6);
}

TEST_CASE("epochs of the cooldown are not counted", "[plateau]") {
  const PlateauRule rule{1e-4, 0.5, 0.0, 1, 3};
  PlateauState state;
  std::vector<int> cuts;
  for (int epoch = 1; epoch <= 15; ++epoch) {
    if (state.after_epoch(rule, kRate, 0.5)) cuts.push_back(epoch);
  }
  CHECK(cuts == std::vector<int>{3, 8, 13});  // two bad epochs, a cut, three that rest
}

TEST_CASE("a tie with the best starts the count towards an early stop again", "[plateau]") {
  EarlyStopState state;
  for (const double accuracy : {0.5, 0.4, 0.3}) state.after_epoch(accuracy);
  CHECK(state.epochs_below == 2);
  state.after_epoch(0.5);
  CHECK(state.epochs_below == 0);
  state.after_epoch(0.49999);
  CHECK(state.epochs_below == 1);
}
