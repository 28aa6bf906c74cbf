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
#include "models/resnet.h"

namespace zeroth::app {

/// What a training runs with; everything here outlives the loop.
struct Training {
  Context& context;
  ResNet& network;
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

/// Turns SIGINT and SIGTERM into a flag for as long as it lives. A second signal ends the process.
class SignalGuard {
 public:
  SignalGuard();
  ~SignalGuard();
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;
  /// The signal that came, or 0.
  static int received();
};

/// Epochs of steps with all that goes with them: progress, log, evaluation, checkpoints.
class TrainLoop {
 public:
  explicit TrainLoop(Training training);

  /// Trains to the end, or until a signal has come and the state has been saved: the signal, else 0. Throws
  /// Error(diverged) when gradients, the loss, in training or evaluation, or a weight stop being finite; the
  /// last checkpoint is then one from before.
  int run();

  /// After run(), on the test set. With a validation split the weights of the best epoch count, as they would
  /// be chosen without the test set. Throws Error(diverged) where the loss is not finite.
  Evaluation final_evaluation();

 private:
  void gather();
  void tell_step_notice();
  /// Ends the training with what happened, what to do, and where the last checkpoint is.
  [[noreturn]] void fail_diverged(const std::string& what,
                                  const char* remedy = "a lower --lr or a longer --warmup") const;
  [[noreturn]] void fail_stopped() const;
  std::string no_longer_finite(const char* what) const;
  bool may_skip() const;
  template <class Record>
  void fill_report(Record& record) const;
  std::string report_text() const;
  /// On the validation pictures, where some are held out, else on the test set.
  SetResult evaluate();
  Evaluation evaluate_on(const PictureSet& set, std::span<const std::int32_t> indices = {});
  template <class Record>
  void log(const Record& record);
  void log_step();
  void show();
  void finish_epoch();
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
    void add(const Metrics& metrics);
    // NaN where every step was skipped.
    double mean_loss() const { return loss / static_cast<double>(rows); }
    double error() const { return 1.0 - static_cast<double>(correct) / static_cast<double>(rows); }
  };
  Sums epoch_, line_;                 // since the epoch began; since the last line of the log
  std::int64_t epoch_rows_here_ = 0;  // of epoch_, in this process
  StepReport report_;                 // as of the last gather()
  double learning_rate_ = 0.0;        // of the last step

  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now(), epoch_start_ = start_, line_start_ = start_;
};

}  // namespace zeroth::app
