#include "apps/train_loop.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "apps/session.h"
#include "apps/stop_signal.h"
#include "engine/checkpoint.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

constexpr std::int64_t kLogEvery = 20;  // steps to a line of log.jsonl

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::int64_t last_step_of(const Training& training) {
  const std::int64_t whole = training.options.epochs * training.trainer.steps_per_epoch();
  return std::min(whole, training.options.max_steps.value_or(whole));
}

/// The last step whose records of an earlier process stay. A training that goes on writes the line anew with
/// which that one ended, where it ended between the steps at which every training writes one.
std::int64_t last_kept_record(const Training& training) {
  const std::int64_t step = training.info.step, steps_per_epoch = training.trainer.steps_per_epoch();
  if (step >= last_step_of(training)) return step;
  return std::max(step / kLogEvery * kLogEvery, step / steps_per_epoch * steps_per_epoch);
}

}  // namespace

void TrainLoop::Sums::add(const Sums& more) {
  loss += more.loss;
  correct += more.correct;
  rows += more.rows;
}

TrainLoop::TrainLoop(Training training)
    : training_(std::move(training)),
      progress_(STDERR_FILENO, training_.options.quiet),
      last_step_(last_step_of(training_)),
      first_step_(training_.info.step),
      epoch_first_step_(first_step_),
      line_first_step_(first_step_) {
  if (training_.leads())
    log_.emplace(training_.folder.path(), training_.info.data, last_kept_record(training_));
  if (training_.leads() && training_.options.tensorboard)
    events_.emplace(training_.folder.path(), last_kept_record(training_));
  epoch_ = {training_.info.epoch_loss, training_.info.epoch_correct, training_.info.epoch_rows};
  training_.trainer.set_rate_scale(training_.info.plateau.scale);
}

int TrainLoop::run() {
  const StopSignal signals;
  Trainer& trainer = training_.trainer;
  // From its first moment on a run can be resumed, however it ends.
  const bool saved =
      training_.ranks == nullptr ? std::filesystem::exists(training_.folder.last()) : training_.resumed;
  if (!saved) save(training_.folder.last());
  if (training_.info.evaluation_due) {
    gather();
    const double factor = trainer.config().schedule.factor(first_step_ - 1, trainer.steps_per_epoch());
    learning_rate_ = scaled_lr(training_.options) * (training_.info.plateau.scale * factor);
    finish_epoch();
  }
  int signal = 0;
  while (trainer.steps_taken() < last_step_ && !stopped_early() && (signal = stop_signal()) == 0) {
    learning_rate_ = scaled_lr(training_.options) * trainer.rate_factor();
    trainer.step();
    tell_step_notice();
    tested_.reset();
    const std::int64_t steps = trainer.steps_taken();
    const std::int64_t in_epoch = steps - (steps - 1) / trainer.steps_per_epoch() * trainer.steps_per_epoch();
    if (trainer.at_epoch_start() || steps % kLogEvery == 0) {
      gather();
      log_line(trainer.at_epoch_start());
      show();
      finish_line();
    } else if (steps == last_step_ ||
               (training_.ranks == nullptr && progress_.due(in_epoch, trainer.steps_per_epoch()))) {
      gather();
      show();
    }
    if (trainer.at_epoch_start()) finish_epoch();
  }
  progress_.clear();
  const bool within_epoch = !trainer.at_epoch_start() && trainer.steps_taken() > first_step_;
  if (within_epoch || training_.info.evaluation_due) {  // there is no checkpoint of this step yet
    gather();
    if (line_.rows > 0) log_line(true);
    if (signal == 0 && !interrupted()) static_cast<void>(evaluate());
    save(training_.folder.last());
  }
  // A signal may have come while this was evaluating or saving; several ranks have agreed on theirs.
  return training_.ranks == nullptr ? StopSignal::received() : signal;
}

int TrainLoop::stop_signal() {
  const int received = StopSignal::received();
  return training_.ranks == nullptr ? received
                                    : training_.ranks->stop_before(training_.trainer.steps_taken(), received);
}

void TrainLoop::tell_step_notice() {
  if (training_.trainer.step_notice() == step_notice_) return;
  step_notice_ = training_.trainer.step_notice();
  if (!step_notice_.empty()) progress_.message(step_notice_);
}

/// Looks at the device's sums since the last line of the log; this waits for the steps that are queued.
void TrainLoop::gather() {
  const Metrics metrics = training_.trainer.metrics();
  report_ = training_.trainer.take_report();
  if (report_.stopped) fail_stopped();
  tell_skipped();
  line_ = {metrics.loss * static_cast<double>(metrics.rows), metrics.correct, metrics.rows};
  if (!std::isfinite(line_.loss)) fail_diverged(no_longer_finite("the loss"));
}

/// The device's sums begin anew only here, at steps that every run of these settings has in common: so their
/// last bits do not depend on when somebody looked, nor on where a run was interrupted.
void TrainLoop::finish_line() {
  static_cast<void>(training_.trainer.take_metrics());
  epoch_.add(line_);
  line_ = {};
  line_first_step_ = training_.trainer.steps_taken();
  line_start_ = Clock::now();
}

TrainLoop::Sums TrainLoop::sums() const {
  Sums all = epoch_;
  all.add(line_);
  return all;
}

double TrainLoop::images_per_second(std::int64_t first_step, Clock::time_point start) const {
  const std::int64_t pictures = (training_.trainer.steps_taken() - first_step) *
                                training_.options.batch_size * training_.options.ranks.value_or(1);
  return static_cast<double>(pictures) / std::max(seconds_since(start), 1e-9);
}

std::string TrainLoop::no_longer_finite(const char* what) const {
  return fmt::format("{} stopped being finite at step {} or just before it", what,
                     training_.trainer.steps_taken());
}

void TrainLoop::fail_diverged(const std::string& what, const std::string& remedy) const {
  const bool saved = training_.leads() && std::filesystem::exists(training_.folder.last());
  fail(ErrorKind::diverged,
       fmt::format("{}; try {}{}", what, remedy,
                   saved ? "; the checkpoint before it is " + training_.folder.last().string() : ""));
}

/// The guard lets no step through since the one that it names.
void TrainLoop::fail_stopped() const {
  const TrainOptions& options = training_.options;
  const bool dynamic = options.amp == DType::f16 && !options.loss_scale;
  // No weight has moved since: the step can be taken again, and looked at.
  std::string first = training_.trainer.find_nonfinite(report_.first_bad_step);
  if (first.empty()) first = fmt::format("the gradient of '{}'", report_.first_bad_parameter);
  const char* scale = options.loss_scale ? "a lower --loss-scale, " : "";
  if (!dynamic && options.nonfinite == OnNonfinite::stop)
    fail_diverged(fmt::format("step {} is not finite, first {}", report_.first_bad_step, first),
                  fmt::format("{}a lower --lr, a longer --warmup or --nonfinite skip", scale));
  const std::string where = dynamic ? fmt::format(" at the smallest loss scale, {}", report_.loss_scale) : "";
  fail_diverged(fmt::format("{} steps in a row were not finite{}, first {} at step {}", report_.stuck, where,
                            first, report_.first_bad_step),
                fmt::format("{}a lower --lr or a longer --warmup", scale));
}

/// Names a step that was left out because the user wants that; with a dynamic scale it is no news.
void TrainLoop::tell_skipped() {
  const TrainOptions& options = training_.options;
  const bool dynamic = options.amp == DType::f16 && !options.loss_scale;
  if (report_.first_bad_step == 0 || dynamic) return;
  progress_.message(fmt::format("step {} was skipped: the gradient of '{}' is not finite; {} skipped so far",
                                report_.first_bad_step, report_.first_bad_parameter, report_.skipped));
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
    text += fmt::format(", {} skipped", count_of(report_.skipped, "step"));
  return text;
}

/// One rank leaves an evaluation when a signal comes; several see theirs to the end, as the others wait for
/// it.
bool TrainLoop::interrupted() const {
  return training_.ranks == nullptr && StopSignal::received() != 0;
}

Evaluation TrainLoop::evaluate_on(const PictureSet& set, std::span<const std::int32_t> indices,
                                  TestViews views) {
  if (training_.ranks == nullptr)
    return training_.trainer.evaluate(set, indices, views, [this] { return interrupted(); });
  return training_.ranks->evaluate(training_.context, training_.network, training_.trainer, set, indices,
                                   views);
}

SetResult TrainLoop::evaluate() {
  if (interrupted()) return {};
  Metrics metrics;
  if (training_.validation.empty()) {
    if (!tested_) {
      Evaluation tested = evaluate_on(training_.test);
      if (interrupted()) return {};
      tested_ = std::move(tested);
    }
    metrics = tested_->metrics;
  } else {
    metrics = evaluate_on(training_.train, training_.validation).metrics;
    if (interrupted()) return {};
  }
  if (!std::isfinite(metrics.loss)) fail_diverged(no_longer_finite("the loss in evaluation"));
  return {metrics.loss, metrics.error()};
}

Evaluation TrainLoop::final_evaluation() {
  const TestViews views = training_.options.tta;
  if (training_.validation.empty() || !training_.info.best_accuracy) {
    if (views != TestViews::one || !tested_) tested_ = evaluate_on(training_.test, {}, views);
  } else if (training_.ranks == nullptr && !training_.network.store().shares()) {
    const SafetensorsFile best(training_.folder.best());
    Model& network = training_.network;
    load_weights(training_.context, best, network,
                 training_.options.averaged_weights ? averages_in(best, network) : "");
    tested_ =
        zeroth::evaluate(training_.context, network, training_.test, training_.trainer.config(), {}, views);
  } else {
    std::optional<SafetensorsFile> best;
    if (training_.leads()) best.emplace(training_.folder.best());
    const std::int64_t steps = training_.trainer.steps_taken();
    if (training_.ranks == nullptr)
      load_training(training_.trainer, *best, steps);
    else
      training_.ranks->load_state(training_.context, training_.trainer, best ? &*best : nullptr, steps);
    tested_ = evaluate_on(training_.test, {}, views);
  }
  if (!std::isfinite(tested_->metrics.loss)) fail_diverged(no_longer_finite("the loss on the test set"));
  return *tested_;
}

template <class Record>
void TrainLoop::log(const Record& record) {
  if (log_) log_->write(record);
  if (events_) events_->write(record);
}

/// Read from the device: between epochs, when nothing is lost by waiting.
std::vector<std::pair<std::string, double>> TrainLoop::alphas() const {
  std::vector<std::pair<std::string, double>> all;
  const ParameterStore& store = training_.network.store();
  for (const Parameter& parameter : store.parameters()) {
    if (parameter.group != ParameterGroup::alpha) continue;
    // Where ranks share weights themselves, nobody has them between steps.
    const Tensor& value = store.shares() ? parameter.working_value : parameter.value;
    if (value.defined()) all.emplace_back(parameter.name, numbers_of(training_.context, value).front());
  }
  return all;
}

void TrainLoop::log_line(bool with_alphas) {
  const Trainer& trainer = training_.trainer;
  StepRecord record;
  record.step = trainer.steps_taken();
  record.epoch = static_cast<double>(record.step) / static_cast<double>(trainer.steps_per_epoch());
  record.loss = line_.mean_loss();
  record.error = line_.error();
  record.learning_rate = learning_rate_;
  record.images_per_second = images_per_second(line_first_step_, line_start_);
  if (training_.matrix_rate > 0)
    record.of_ceiling = record.images_per_second * training_.flops_per_image / training_.matrix_rate;
  fill_report(record);
  if (with_alphas) record.alphas = alphas();
  log(record);
}

void TrainLoop::show() {
  const Trainer& trainer = training_.trainer;
  const std::int64_t steps = trainer.steps_taken(), per_epoch = trainer.steps_per_epoch();
  ProgressState state;
  state.epoch = (steps - 1) / per_epoch + 1;
  state.epochs = training_.options.epochs;
  state.step = steps - (state.epoch - 1) * per_epoch;
  state.steps = per_epoch;
  state.loss = sums().mean_loss();
  state.accuracy = 1.0 - sums().error();
  state.images_per_second = images_per_second(epoch_first_step_, epoch_start_);
  if (training_.matrix_rate > 0)
    state.of_ceiling = state.images_per_second * training_.flops_per_image / training_.matrix_rate;
  state.note = training_.note;
  const double seconds_a_step = seconds_since(start_) / static_cast<double>(steps - first_step_);
  state.seconds_left = seconds_a_step * static_cast<double>(last_step_ - steps);
  progress_.update(state);
}

/// Evaluates, logs and saves. A signal during the evaluation leaves all of that to the resumed run.
void TrainLoop::finish_epoch() {
  Trainer& trainer = training_.trainer;
  const TrainOptions& options = training_.options;
  EpochRecord record;
  record.epoch = trainer.epoch();
  record.step = trainer.steps_taken();
  record.learning_rate = learning_rate_;
  record.train = {epoch_.mean_loss(), epoch_.error()};
  record.images_per_second = images_per_second(epoch_first_step_, epoch_start_);
  const bool validates = !training_.validation.empty();
  training_.info.evaluation_due = true;
  const SetResult result = evaluate();
  if (interrupted()) return;
  training_.info.evaluation_due = false;
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
  epoch_first_step_ = record.step;
  const double accuracy = 1.0 - result.error;
  const bool best = !training_.info.best_accuracy || accuracy > *training_.info.best_accuracy;
  if (best) {
    training_.info.best_accuracy = accuracy;
    training_.info.best_step = record.step;
  }
  judge(record.epoch, accuracy);
  save_epoch(record.epoch, best);
  epoch_start_ = line_start_ = Clock::now();
}

/// The order counts: a run that dies in between is resumed from the first, of which open_run() then makes
/// the others.
void TrainLoop::save_epoch(std::int64_t epoch, bool best) {
  const TrainOptions& options = training_.options;
  save(training_.folder.last());
  if (best) save(training_.folder.best());
  if (options.save_every > 0 && epoch % options.save_every == 0) {
    save(training_.folder.of_epoch(epoch));
    if (training_.leads()) training_.folder.prune(options.keep);
  }
}

void TrainLoop::judge(std::int64_t epoch, double accuracy) {
  const TrainOptions& options = training_.options;
  CheckpointInfo& info = training_.info;
  if (options.schedule == ScheduleKind::plateau &&
      info.plateau.after_epoch(options.plateau, scaled_lr(options), accuracy)) {
    training_.trainer.set_rate_scale(info.plateau.scale);
    progress_.message(
        fmt::format("no better accuracy than {} for more than {}: learning rate {:.3g} from here on",
                    percent(*info.plateau.best), count_of(options.plateau.patience, "epoch"),
                    scaled_lr(options) * info.plateau.scale));
  }
  info.early_stop.after_epoch(accuracy);
  if (stopped_early())
    progress_.message(fmt::format("stopped early after epoch {}: {} below the best accuracy, {}", epoch,
                                  count_of(info.early_stop.epochs_below, "epoch"),
                                  percent(*info.early_stop.best)));
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
