#include "apps/setting_table.h"

namespace zeroth::app {

namespace {

const Choices<bool> kBatchNorm{{"local", false}, {"sync", true}};

}  // namespace

void add_rank_settings(SettingTable& table) {
  table.group("Several ranks");
  Setting& ranks =
      table.integer("ranks", &TrainOptions::ranks, 1, 65536, "1",
                    "processes that train together, started on this machine, each on its own part "
                    "of every step's pictures");
  ranks.may_change = true;
  table.choice("bn", &TrainOptions::bn_sync, kBatchNorm,
               "batch norm's statistics in training: of a rank's pictures, or of all ranks'");
  const auto this_run_only = [](Setting& line) {
    line.may_change = true;
    line.recorded = line.in_checkpoint = false;
  };
  Setting& gpus = table.add(
      "gpus", "N", ValueType::integer, "--ranks N --device cuda: rank i on GPU i",
      [](TrainOptions& o, const std::string& value) {
        o.ranks = parse_integer(value, 1, 65536);
        o.device = "cuda";
      },
      [](const TrainOptions&) { return ""; });
  gpus.unset = "as ranks and device";
  this_run_only(gpus);
  this_run_only(
      table.integer("max_restarts", &TrainOptions::max_restarts, 0, 1000,
                    "how often ranks started by --ranks are started again from their last checkpoint "
                    "after one has failed"));
  this_run_only(table.real("join_timeout", &TrainOptions::join_timeout, kPositive,
                           "seconds until all ranks must be there"));
  this_run_only(
      table.real("peer_timeout", &TrainOptions::peer_timeout, kPositive,
                 "seconds after which a rank that is not heard of has failed: stopped, or cut off"));
  this_run_only(table.real("hang_timeout", &TrainOptions::hang_timeout, kPositive,
                           "seconds after which a rank that gets no further while others wait has failed"));
}

}  // namespace zeroth::app
