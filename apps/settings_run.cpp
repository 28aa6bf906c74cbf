#include "apps/setting_table.h"

namespace zeroth::app {

namespace {

const Choices<TestViews> kTestViews{
    {"none", TestViews::one}, {"flip", TestViews::flip}, {"translate", TestViews::translate}};

}  // namespace

void add_run_settings(SettingTable& table) {
  table.group("Run");
  table.text("recipe", &TrainOptions::recipe, "NAME", "", "a named set of values; other flags override it");
  const auto this_run_only = [](Setting& line) {
    line.may_change = true;
    line.recorded = line.in_checkpoint = false;
  };
  Setting& config = table.text("config", &TrainOptions::config, "FILE", "none",
                               "TOML file of settings: flags without dashes, batch_size = 128");
  config.from_file = false;
  this_run_only(config);
  this_run_only(table.text("out", &TrainOptions::out, "DIR", "runs/MODEL-DATE-TIME", "run folder"));
  this_run_only(table.text("resume", &TrainOptions::resume, "auto|PATH", "a new run",
                           "go on with a run folder or checkpoint; auto: the one in --out, else the newest "
                           "under runs/"));
  Setting& save_every = table.integer("save_every", &TrainOptions::save_every, 0, kMany,
                                      "epochs between checkpoints that stay; 0: only last and best");
  save_every.may_change = true;
  Setting& keep =
      table.integer("keep", &TrainOptions::keep, 0, kMany, "how many of those stay, the newest; 0: all");
  keep.may_change = true;
  Setting& target = table.real("target_acc", &TrainOptions::target_acc, kUpToOne, "none",
                               "end with exit code 6 unless this accuracy (0.9) is reached");
  target.may_change = true;
  table
      .boolean("tensorboard", &TrainOptions::tensorboard,
               "event files for TensorBoard in the run folder, beside its log")
      .may_change = true;
  table
      .choice("tta", &TrainOptions::tta, kTestViews,
              "views of a test picture whose logits the final test, eval and predict average: itself, its "
              "mirror image too, both moved by a pixel too")
      .may_change = true;
  this_run_only(table.boolean("quiet", &TrainOptions::quiet, "no progress, only results and errors"));
}

}  // namespace zeroth::app
