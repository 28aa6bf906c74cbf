#include "apps/setting_table.h"

namespace zeroth::app {

namespace {

const Setting::Condition kMuon{"--optimizer muon",
                               [](const TrainOptions& o) { return o.optimizer == OptimizerKind::muon; }};
const Setting::Condition kLookahead{"--lookahead",
                                    [](const TrainOptions& o) { return o.lookahead.has_value(); }};
const Setting::Condition kAveraged{"--ema or --lookahead",
                                   [](const TrainOptions& o) { return o.ema || o.lookahead; }};
const Choices<bool> kWeights{{"averaged", true}, {"raw", false}};

}  // namespace

void add_optimizer_settings(SettingTable& table) {
  table.real("bias_lr", &TrainOptions::bias_lr, kNotNegative, "as lr",
             "learning rate of biases and of batch norm's gamma and beta");
  table.real("bias_wd", &TrainOptions::bias_wd, kNotNegative, "as weight_decay", "weight decay of the same");
  const auto only_muon = [](Setting& line) { line.only_with = kMuon; };
  only_muon(table.real("muon_lr", &TrainOptions::muon_lr, kPositive,
                       "learning rate of hidden filters; all else is trained as by sgd, with lr"));
  only_muon(
      table.real("muon_momentum", &TrainOptions::muon_momentum, kBelowOne, "of hidden filters, Nesterov's"));
  only_muon(table.real("muon_wd", &TrainOptions::muon_wd, kNotNegative,
                       "weight decay of hidden filters, decoupled"));
  only_muon(table.integer("muon_iterations", &TrainOptions::muon_iterations, 1, 32,
                          "of Newton and Schulz, to orthogonalise a step"));
  only_muon(table.boolean("muon_normalize", &TrainOptions::muon_normalize,
                          "scale each hidden filter matrix of K rows to the norm sqrt(K) before a step"));
}

void add_average_settings(SettingTable& table) {
  table.real("ema", &TrainOptions::ema, kBelowOne, "off",
             "decay of a moving average of the weights, beside the training");
  table.integer("lookahead", &TrainOptions::lookahead, 1, kMany, "off",
                "every N updates slow weights move towards the weights, which go on from there");
  table.real("lookahead_alpha", &TrainOptions::lookahead_alpha, kUpToOne, "share of the way that they move")
      .only_with = kLookahead;
  table
      .real("lookahead_power", &TrainOptions::lookahead_power, kNotNegative,
            "the share falls from 1 to alpha with this power of the steps done; 0: alpha all along")
      .only_with = kLookahead;
  Setting& weights = table.choice("weights", &TrainOptions::averaged_weights, kWeights,
                                  "which are evaluated and used, where there are averages");
  weights.only_with = kAveraged;
  weights.may_change = true;
}

}  // namespace zeroth::app
