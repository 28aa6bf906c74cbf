#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/checkpoint_info.h"
#include "apps/options.h"
#include "apps/ranks.h"
#include "apps/run_folder.h"
#include "engine/event_log.h"
#include "engine/progress.h"
#include "engine/run_log.h"
#include "engine/trainer.h"
#include "models/model.h"

namespace zeroth::app {

/// What a training runs with; everything here outlives the loop.
struct Training {
  Context& context;
  Model& network;
  Trainer& trainer;
  const TrainOptions& options;
  Ranks* ranks;             ///< null: there is one
  const RunFolder& folder;  ///< rank 0's
  PictureSet train, test;
  std::vector<std::int32_t> validation;             ///< indices into train; empty: none held out
  std::string note;                                 ///< on the progress line; empty for real pictures
  double flops_per_image = 0.0, matrix_rate = 0.0;  ///< 0: unknown
  CheckpointInfo info;                              ///< of the start: a resumed run's, or a new one's
  bool resumed = false;

  /// Whether this process writes files and talks.
  bool leads() const { return ranks == nullptr || ranks->leads(); }
};

/// Epochs of steps with all that goes with them: progress, log, evaluation, checkpoints.
class TrainLoop {
 public:
  explicit TrainLoop(Training training);

  /// Trains to the end, or until a StopSignal has come and the state has been saved: the signal, else 0.
  /// Throws Error(diverged) when gradients, the loss, in training or evaluation, or a weight stop being
  /// finite; the last checkpoint is then one from before.
  int run();

  /// After run(), on the test set. With a validation split the weights of the best epoch count, as they would
  /// be chosen without the test set. Throws Error(diverged) where the loss is not finite.
  Evaluation final_evaluation();

 private:
  void gather();
  void finish_line();
  double images_per_second(std::int64_t first_step, std::chrono::steady_clock::time_point start) const;
  void tell_step_notice();
  /// Ends the training with what happened, what to do, and where the last checkpoint is.
  [[noreturn]] void fail_diverged(const std::string& what,
                                  const std::string& remedy = "a lower --lr or a longer --warmup") const;
  [[noreturn]] void fail_stopped() const;
  void tell_skipped();
  std::string no_longer_finite(const char* what) const;
  bool may_skip() const;
  template <class Record>
  void fill_report(Record& record) const;
  std::string report_text() const;
  /// On the validation pictures, where some are held out, else on the test set.
  /// What it gives where a signal has come meanwhile is of no use.
  SetResult evaluate();
  Evaluation evaluate_on(const PictureSet& set, std::span<const std::int32_t> indices = {},
                         TestViews views = TestViews::one);
  bool interrupted() const;
  template <class Record>
  void log(const Record& record);
  void log_line(bool with_alphas);
  std::vector<std::pair<std::string, double>> alphas() const;
  void show();
  void finish_epoch();
  void save_epoch(std::int64_t epoch, bool best);
  /// What the accuracy of an epoch decides of those to come, by --schedule plateau and --early-stop.
  void judge(std::int64_t epoch, double accuracy);
  bool stopped_early() const;
  void save(const std::filesystem::path& path);

  /// The signal for which the training ends before its next step, or 0: the same on all ranks.
  int stop_signal();

  Training training_;
  std::optional<RunLog> log_;       // rank 0's
  std::optional<EventLog> events_;  // --tensorboard
  Progress progress_;
  std::int64_t last_step_ = 0;
  std::int64_t first_step_ = 0;       // of this process
  std::string step_notice_;           // as told
  std::optional<Evaluation> tested_;  // on the test set, of the weights as they are

  struct Sums {
    double loss = 0.0;
    std::int64_t correct = 0, rows = 0;
    void add(const Sums& more);
    // NaN where every step was skipped.
    double mean_loss() const { return loss / static_cast<double>(rows); }
    double error() const { return 1.0 - static_cast<double>(correct) / static_cast<double>(rows); }
  };
  Sums sums() const;                   // of the epoch until now
  Sums epoch_, line_;                  // of the epoch up to the last line of the log; since that line
  StepReport report_;                  // as of the last gather()
  double learning_rate_ = 0.0;         // of the last step
  std::int64_t epoch_first_step_ = 0;  // what this process took of the epoch comes after it
  std::int64_t line_first_step_ = 0;   // likewise

  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now(), epoch_start_ = start_, line_start_ = start_;
};

}  // namespace zeroth::app
