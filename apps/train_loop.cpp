#include "apps/train_loop.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <optional>

#include "apps/session.h"
#include "engine/checkpoint.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

constexpr std::int64_t kLogEvery = 20;  // steps to a line of log.jsonl

volatile std::sig_atomic_t received_signal = 0;

void note_signal(int signal) {
  received_signal = signal;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

SignalGuard::SignalGuard() {
  received_signal = 0;
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

SignalGuard::~SignalGuard() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

int SignalGuard::received() {
  return received_signal;
}

void TrainLoop::Sums::add(const Metrics& metrics) {
  loss += metrics.loss * static_cast<double>(metrics.rows);
  correct += metrics.correct;
  rows += metrics.rows;
}

TrainLoop::TrainLoop(Training training)
    : training_(std::move(training)),
      progress_(STDERR_FILENO, training_.options.quiet),
      first_step_(training_.info.step) {
  if (training_.leads()) log_.emplace(training_.folder.path(), training_.info.data, training_.info.step);
  if (training_.leads() && training_.options.tensorboard)
    events_.emplace(training_.folder.path(), training_.info.step);
  last_step_ = training_.options.epochs * training_.trainer.steps_per_epoch();
  last_step_ = std::min(last_step_, training_.options.max_steps.value_or(last_step_));
  epoch_ = {training_.info.epoch_loss, training_.info.epoch_correct, training_.info.epoch_rows};
  training_.trainer.set_rate_scale(training_.info.plateau.scale);
}

int TrainLoop::run() {
  const SignalGuard signals;
  Trainer& trainer = training_.trainer;
  // From its first moment on a run can be resumed, however it ends.
  if (!training_.resumed) save(training_.folder.last());
  int signal = 0;
  while (trainer.steps_taken() < last_step_ && !stopped_early() && (signal = stop_signal()) == 0) {
    learning_rate_ = scaled_lr(training_.options) * trainer.rate_factor();
    trainer.step();
    tell_step_notice();
    tested_.reset();
    const std::int64_t steps = trainer.steps_taken();
    const bool ends = trainer.at_epoch_start() || steps == last_step_;
    const std::int64_t in_epoch = steps - (steps - 1) / trainer.steps_per_epoch() * trainer.steps_per_epoch();
    if (ends || steps % kLogEvery == 0) {
      gather();
      log_step();
      show();
    } else if (training_.ranks == nullptr && progress_.due(in_epoch, trainer.steps_per_epoch())) {
      gather();
      show();
    }
    if (trainer.at_epoch_start()) finish_epoch();
  }
  progress_.clear();
  // A step count that is no whole number of epochs has no checkpoint yet.
  if (!trainer.at_epoch_start() && trainer.steps_taken() > first_step_) {
    gather();  // steps since the last line of the log
    if (line_.rows > 0) log_step();
    if (signal == 0) evaluate();
    save(training_.folder.last());
  }
  return signal;
}

int TrainLoop::stop_signal() {
  const int received = SignalGuard::received();
  return training_.ranks == nullptr ? received
                                    : training_.ranks->stop_before(training_.trainer.steps_taken(), received);
}

void TrainLoop::tell_step_notice() {
  if (training_.trainer.step_notice() == step_notice_) return;
  step_notice_ = training_.trainer.step_notice();
  if (!step_notice_.empty()) progress_.message(step_notice_);
}

/// Takes the sums of the steps since the last call from the device; this waits for them.
void TrainLoop::gather() {
  const Metrics metrics = training_.trainer.take_metrics();
  report_ = training_.trainer.take_report();
  if (report_.stopped) fail_stopped();
  epoch_.add(metrics);
  line_.add(metrics);
  epoch_rows_here_ += metrics.rows;
  if (!std::isfinite(epoch_.loss)) fail_diverged(no_longer_finite("the loss"));
}

std::string TrainLoop::no_longer_finite(const char* what) const {
  return fmt::format("{} stopped being finite at step {} or just before it", what,
                     training_.trainer.steps_taken());
}

void TrainLoop::fail_diverged(const std::string& what, const char* remedy) const {
  const bool saved = training_.leads() && std::filesystem::exists(training_.folder.last());
  fail(ErrorKind::diverged,
       fmt::format("{}; try {}{}", what, remedy,
                   saved ? "; the checkpoint before it is " + training_.folder.last().string() : ""));
}

/// The guard lets no step through since the one that it names.
void TrainLoop::fail_stopped() const {
  const TrainOptions& options = training_.options;
  const bool dynamic = options.amp == DType::f16 && !options.loss_scale;
  if (!dynamic && options.nonfinite == OnNonfinite::stop)
    fail_diverged(fmt::format("the gradient of '{}' stopped being finite at step {}",
                              report_.first_bad_parameter, report_.first_bad_step),
                  "a lower --lr, a longer --warmup or --nonfinite skip");
  const std::string where = dynamic ? fmt::format(" at the smallest loss scale, {}", report_.loss_scale) : "";
  fail_diverged(fmt::format("the gradients of {} steps in a row were not finite{}, that of '{}' first",
                            report_.stuck, where, report_.first_bad_parameter));
}

/// Whether steps may be left out while the training goes on.
bool TrainLoop::may_skip() const {
  return training_.options.amp == DType::f16 || training_.options.nonfinite == OnNonfinite::skip;
}

template <class Record>
void TrainLoop::fill_report(Record& record) const {
  record.gradient_norm = report_.gradient_norm;
  if (training_.options.amp == DType::f16) record.loss_scale = report_.loss_scale;
  if (may_skip()) record.skipped_steps = report_.skipped;
}

/// ", loss scale 32768, 3 steps skipped", where that is in use.
std::string TrainLoop::report_text() const {
  std::string text;
  if (training_.options.amp == DType::f16) text = fmt::format(", loss scale {}", report_.loss_scale);
  if (may_skip() && report_.skipped > 0)
    text += fmt::format(", {} step{} skipped", report_.skipped, report_.skipped == 1 ? "" : "s");
  return text;
}

Evaluation TrainLoop::evaluate_on(const PictureSet& set, std::span<const std::int32_t> indices) {
  if (training_.ranks == nullptr) return training_.trainer.evaluate(set, indices);
  return training_.ranks->evaluate(training_.context, training_.network, training_.trainer, set, indices);
}

SetResult TrainLoop::evaluate() {
  Metrics metrics;
  if (training_.validation.empty()) {
    if (!tested_) tested_ = evaluate_on(training_.test);
    metrics = tested_->metrics;
  } else {
    metrics = evaluate_on(training_.train, training_.validation).metrics;
  }
  if (!std::isfinite(metrics.loss)) fail_diverged(no_longer_finite("the loss in evaluation"));
  return {metrics.loss, metrics.error()};
}

Evaluation TrainLoop::final_evaluation() {
  if (!training_.validation.empty() && training_.info.best_accuracy) {
    std::optional<SafetensorsFile> best;
    if (training_.leads()) best.emplace(training_.folder.best());
    if (training_.ranks == nullptr)
      load_weights(training_.context, *best, training_.network);
    else
      training_.ranks->load_state(training_.context, training_.trainer, best ? &*best : nullptr,
                                  training_.trainer.steps_taken());
    tested_.reset();
  }
  if (!tested_) tested_ = evaluate_on(training_.test);
  if (!std::isfinite(tested_->metrics.loss)) fail_diverged(no_longer_finite("the loss on the test set"));
  return *tested_;
}

template <class Record>
void TrainLoop::log(const Record& record) {
  if (log_) log_->write(record);
  if (events_) events_->write(record);
}

void TrainLoop::log_step() {
  const Trainer& trainer = training_.trainer;
  StepRecord record;
  record.step = trainer.steps_taken();
  record.epoch = static_cast<double>(record.step) / static_cast<double>(trainer.steps_per_epoch());
  record.loss = line_.mean_loss();
  record.error = line_.error();
  record.learning_rate = learning_rate_;
  record.images_per_second = static_cast<double>(line_.rows) / std::max(seconds_since(line_start_), 1e-9);
  if (training_.matrix_rate > 0)
    record.of_ceiling = record.images_per_second * training_.flops_per_image / training_.matrix_rate;
  fill_report(record);
  log(record);
  line_ = {};
  line_start_ = Clock::now();
}

void TrainLoop::show() {
  const Trainer& trainer = training_.trainer;
  const std::int64_t steps = trainer.steps_taken(), per_epoch = trainer.steps_per_epoch();
  ProgressState state;
  state.epoch = (steps - 1) / per_epoch + 1;
  state.epochs = training_.options.epochs;
  state.step = steps - (state.epoch - 1) * per_epoch;
  state.steps = per_epoch;
  state.loss = epoch_.mean_loss();
  state.accuracy = 1.0 - epoch_.error();
  state.images_per_second =
      static_cast<double>(epoch_rows_here_) / std::max(seconds_since(epoch_start_), 1e-9);
  if (training_.matrix_rate > 0)
    state.of_ceiling = state.images_per_second * training_.flops_per_image / training_.matrix_rate;
  state.note = training_.note;
  const double seconds_a_step = seconds_since(start_) / static_cast<double>(steps - first_step_);
  state.seconds_left = seconds_a_step * static_cast<double>(last_step_ - steps);
  progress_.update(state);
}

/// Evaluates, logs and saves.
void TrainLoop::finish_epoch() {
  Trainer& trainer = training_.trainer;
  const TrainOptions& options = training_.options;
  EpochRecord record;
  record.epoch = trainer.epoch();
  record.step = trainer.steps_taken();
  record.learning_rate = learning_rate_;
  record.train = {epoch_.mean_loss(), epoch_.error()};
  record.images_per_second =
      static_cast<double>(epoch_rows_here_) / std::max(seconds_since(epoch_start_), 1e-9);
  const bool validates = !training_.validation.empty();
  const SetResult result = evaluate();
  (validates ? record.validation : record.test) = result;
  record.seconds = seconds_since(epoch_start_);
  fill_report(record);
  log(record);
  progress_.message(fmt::format("epoch {}/{}: loss {:.4f}, error {} train, {} {}{}, {}{}{}", record.epoch,
                                options.epochs, record.train.loss, percent(record.train.error),
                                percent(result.error), validates ? "validation" : "test", report_text(),
                                duration_text(record.seconds), training_.note.empty() ? "" : ", ",
                                training_.note));
  epoch_ = {};
  epoch_rows_here_ = 0;
  const double accuracy = 1.0 - result.error;
  const bool best = !training_.info.best_accuracy || accuracy > *training_.info.best_accuracy;
  if (best) {
    training_.info.best_accuracy = accuracy;
    training_.info.best_step = record.step;
  }
  judge(record.epoch, accuracy);
  save(training_.folder.last());
  if (best) save(training_.folder.best());
  if (options.save_every > 0 && record.epoch % options.save_every == 0) {
    save(training_.folder.of_epoch(record.epoch));
    if (training_.leads()) training_.folder.prune(options.keep);
  }
  epoch_start_ = line_start_ = Clock::now();
}

void TrainLoop::judge(std::int64_t epoch, double accuracy) {
  const TrainOptions& options = training_.options;
  CheckpointInfo& info = training_.info;
  if (options.schedule == ScheduleKind::plateau &&
      info.plateau.after_epoch(options.plateau, scaled_lr(options), accuracy)) {
    training_.trainer.set_rate_scale(info.plateau.scale);
    progress_.message(fmt::format(
        "no better accuracy than {} for more than {} epochs: learning rate {:.3g} from here on",
        percent(*info.plateau.best), options.plateau.patience, scaled_lr(options) * info.plateau.scale));
  }
  info.early_stop.after_epoch(accuracy);
  if (stopped_early())
    progress_.message(fmt::format("stopped early after epoch {}: {} epochs below the best accuracy, {}",
                                  epoch, info.early_stop.epochs_below, percent(*info.early_stop.best)));
}

bool TrainLoop::stopped_early() const {
  return training_.options.early_stop &&
         training_.info.early_stop.epochs_below >= *training_.options.early_stop;
}

void TrainLoop::save(const std::filesystem::path& path) {
  CheckpointInfo& info = training_.info;
  info.step = training_.trainer.steps_taken();
  info.epoch_loss = epoch_.loss;
  info.epoch_correct = epoch_.correct;
  info.epoch_rows = epoch_.rows;
  try {
    save_training(training_.trainer, path, info.metadata());
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::diverged) throw;
    fail_diverged(no_longer_finite("a weight"));
  }
}

}  // namespace zeroth::app
