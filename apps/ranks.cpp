#include "apps/ranks.h"

#include <fmt/format.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <numeric>
#include <sstream>

#include "apps/command_line.h"
#include "apps/launch.h"
#include "apps/parse_value.h"
#include "apps/session.h"
#include "apps/version.h"
#include "engine/checkpoint.h"
#include "engine/parallel/gloo_communicator.h"
#include "engine/parallel/nccl_communicator.h"
#include "engine/parallel/rank_order.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

std::chrono::milliseconds milliseconds_of(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(std::min(seconds, 1e9) * 1000.0));
}

RendezvousConfig rendezvous_config(const LaunchPlace& place, const TrainOptions& options) {
  RendezvousConfig config;
  config.rank = place.rank;
  config.size = place.size;
  config.master = place.master;
  config.port = place.port + 1;
  if (place.rank == 0) config.listener = inherited_listener();
  config.limits = {milliseconds_of(options.join_timeout), milliseconds_of(options.peer_timeout),
                   milliseconds_of(options.hang_timeout)};
  return config;
}

/// The settings that all ranks share: those of a checkpoint, but where its files are and how many threads
/// there are, which each machine may have otherwise. A line each.
std::string common_settings(TrainOptions options) {
  options.data.clear();
  options.init.clear();
  options.threads.reset();
  std::string text = checkpoint_config(options);
  for (const char* key : {"parallel", "offload", "placement", "shard_fraction", "memory_budget"})
    text += fmt::format("{} = {}\n", key, find_setting(key)->print(options));
  return text;
}

/// The first line that differs, of this text and of the other.
std::pair<std::string, std::string> first_difference(const std::string& ours, const std::string& theirs) {
  std::istringstream left(ours), right(theirs);
  for (;;) {
    std::string a, b;
    const bool more_left = static_cast<bool>(std::getline(left, a)),
               more_right = static_cast<bool>(std::getline(right, b));
    if (a != b || !more_left || !more_right) return {a, b};
  }
}

}  // namespace

void check_collectives(const std::string& device) {
  const std::string cpu = why_no_gloo(), gpu = why_no_nccl();
  if (device == "auto" && !cpu.empty() && !gpu.empty()) zeroth::fail(ErrorKind::device, "--ranks: " + cpu);
  const std::string& why = device.starts_with("cuda") ? gpu : cpu;
  if (device != "auto" && !why.empty()) zeroth::fail(ErrorKind::device, "--ranks: " + why);
}

Ranks::Ranks(const LaunchPlace& place, const TrainOptions& options)
    : place_(place), rendezvous_(rendezvous_config(place, options)) {
  const std::string& host = rendezvous_.host_of(rank());
  for (int other = 0; other < size(); ++other) {
    if (rendezvous_.host_of(other) != host) continue;
    if (other == rank()) local_rank_ = local_size_;
    ++local_size_;
  }
  if (place.local_size > 0) {
    local_size_ = place.local_size;
    local_rank_ = place.local_rank;
  }
  rendezvous_.on_failure([this](const std::string& line) {
    if (::isatty(STDERR_FILENO) == 1) say("");  // below the progress line
    say("zeroth: " + line);
    rendezvous_.end_serving();
    ::_exit(static_cast<int>(ErrorKind::peer));
  });
}

std::string Ranks::device_for(const std::string& wanted) const {
  if (wanted != "auto" && !wanted.starts_with("cuda")) return wanted;
  if (wanted.starts_with("cuda:"))
    zeroth::fail(
        ErrorKind::usage,
        fmt::format("--device {}: of several ranks each has its own GPU; say --device cuda", wanted));
  if (wanted == "auto" && choose_device("auto").kind != DeviceKind::cuda) return "cpu";
  const std::size_t gpus = report_cuda().gpus.size();
  if (static_cast<std::size_t>(local_rank_) >= gpus && gpus > 0)
    zeroth::fail(ErrorKind::device,
                 fmt::format("{} is number {} of this machine's ranks, counted from 0, which "
                             "has {} GPUs: each rank needs its own",
                             name(), local_rank_, gpus));
  return fmt::format("cuda:{}", local_rank_);
}

int Ranks::threads() const {
  // A launcher that has bound this process to some cores has divided them.
  const int here = omp_get_num_procs();
  const bool bound = place_.launcher != "torchrun" && here < ::sysconf(_SC_NPROCESSORS_ONLN);
  return bound ? here : std::max(1, here / local_size_);
}

void Ranks::compare(const TrainOptions& options, std::uint64_t data_hash) {
  const std::string settings = common_settings(options), data = std::to_string(data_hash);
  if (leads()) {
    rendezvous_.set("settings", settings);
    rendezvous_.set("program", version_text());
    rendezvous_.set("data", data);
  }
  const auto refuse = [&](const std::string& what) {
    zeroth::fail(ErrorKind::usage, fmt::format("{} {}", name(), what));
  };
  if (const std::string theirs = rendezvous_.get("program"); theirs != version_text())
    refuse(fmt::format("runs another program than rank 0: {} instead of {}", version_text(), theirs));
  if (const std::string theirs = rendezvous_.get("settings"); theirs != settings) {
    const auto [here, there] = first_difference(settings, theirs);
    refuse(fmt::format("was started with other settings than rank 0: {} instead of {}", here, there));
  }
  if (rendezvous_.get("data") != data) refuse("has other pictures than rank 0: its data set is another one");
  rendezvous_.barrier("compared");
}

void Ranks::connect(Context& context, const TrainOptions& options) {
  const auto make = [&](const char* name) {
    return context.device().kind == DeviceKind::cuda ? make_nccl_communicator(rendezvous_, context, name)
                                                     : make_gloo_communicator(rendezvous_, name);
  };
  communicator_ = make("gradients");
  if (!options.bn_sync) return;
  of_batch_norm_ = make("batch norm");
  batch_norm_.emplace(*of_batch_norm_);
}

void Ranks::share(Context& context, std::span<const NamedTensor> tensors) {
  for (const NamedTensor& tensor : tensors) communicator_->broadcast(context, tensor.value, 0);
  communicator_->join(context);
}

void Ranks::load_state(Context& context, Trainer& trainer, const SafetensorsFile* file, std::int64_t steps) {
  // What the file lacks, or has in a size of its own, only its reader knows.
  const std::vector<HostTensor> layout = trainer.state_layout();
  std::vector<double> elements(layout.size() + 1);
  const auto elements_of = [&](const std::string& tensor) {
    const SafetensorsEntry* const entry = file->find(tensor);
    if (entry == nullptr && !Trainer::may_lack(tensor))
      zeroth::fail(ErrorKind::data, fmt::format("{} has no tensor '{}': it belongs to another model",
                                                file->path().string(), tensor));
    return entry == nullptr ? 0.0 : static_cast<double>(entry->shape.elements());
  };
  if (file != nullptr) {
    std::transform(layout.begin(), layout.end(), elements.begin(),
                   [&](const HostTensor& tensor) { return elements_of(tensor.name); });
    elements.back() = elements_of(Trainer::kMetricsName);
  }
  const std::array counts{NamedTensor{
      "", Tensor::from_host<double>(context, {static_cast<std::int64_t>(elements.size())}, elements)}};
  share(context, counts);
  elements = counts[0].value.to_host<double>(context);

  std::map<std::string, std::vector<std::byte>> state;
  const auto take = [&](const std::string& tensor, const Shape& shape, DType dtype) {
    const std::array wanted{NamedTensor{tensor, Tensor::empty(context, shape, dtype)}};
    if (file != nullptr) fill_tensors(context, *file, wanted);
    share(context, wanted);
    std::vector<std::byte>& bytes = state[tensor];
    bytes.resize(wanted[0].value.bytes());
    wanted[0].value.copy_to(context, bytes);
  };
  for (std::size_t i = 0; i < layout.size(); ++i)
    if (elements[i] > 0.0) take(layout[i].name, layout[i].shape, layout[i].dtype);
  if (elements.back() > 0.0)
    take(Trainer::kMetricsName, {static_cast<std::int64_t>(elements.back())}, DType::f64);
  trainer.scatter_state([&](const std::string& name) { return std::span<const std::byte>(state[name]); },
                        steps);
}

Evaluation Ranks::evaluate(Context& context, Network& network, Trainer& trainer, const PictureSet& set,
                           std::span<const std::int32_t> indices, TestViews views) {
  std::vector<NamedTensor> statistics;
  for (const StateTensor& tensor : network.store().state()) statistics.push_back({tensor.name, tensor.value});
  share(context, statistics);
  // Ranks that gather weights as they go take the same number of batches: all of them.
  if (network.store().residency().sharing == Sharing::values) return trainer.evaluate(set, indices, views);
  std::vector<std::int32_t> all(indices.begin(), indices.end());
  if (indices.empty()) {
    all.resize(static_cast<std::size_t>(set.size()));
    std::iota(all.begin(), all.end(), 0);
  }
  const Share own = share_of(static_cast<std::int64_t>(all.size()), rank(), size());
  Evaluation result;
  if (own.count() > 0)
    result = trainer.evaluate(
        set,
        std::span(all).subspan(static_cast<std::size_t>(own.begin), static_cast<std::size_t>(own.count())),
        views);
  const auto classes = static_cast<std::size_t>(set.classes);
  result.class_rows.resize(classes);
  result.class_correct.resize(classes);
  std::vector<double> sums{result.metrics.loss * static_cast<double>(result.metrics.rows),
                           static_cast<double>(result.metrics.correct),
                           static_cast<double>(result.metrics.rows)};
  sums.insert(sums.end(), result.class_rows.begin(), result.class_rows.end());
  sums.insert(sums.end(), result.class_correct.begin(), result.class_correct.end());
  const Tensor on_device = Tensor::from_host<double>(context, {static_cast<std::int64_t>(sums.size())}, sums);
  communicator_->all_reduce(context, on_device, RankReduction::sum);
  communicator_->join(context);
  sums = on_device.to_host<double>(context);
  const auto count = [&](std::size_t i) { return static_cast<std::int64_t>(sums[i]); };
  result.metrics = {sums[2] > 0 ? sums[0] / sums[2] : 0.0, count(1), count(2)};
  for (std::size_t c = 0; c < classes; ++c) {
    result.class_rows[c] = count(3 + c);
    result.class_correct[c] = count(3 + classes + c);
  }
  return result;
}

int Ranks::stop_before(std::int64_t done, int received) {
  rendezvous_.progressed();
  if (received != 0 && !std::exchange(asked_, true)) rendezvous_.ask_to_stop(received);
  return rendezvous_.stop_before(done);
}

void Ranks::leave_together() {
  rendezvous_.barrier("end");
  rendezvous_.leave();
}

void Ranks::fail(const Error& error) noexcept {
  // All ranks have the same loss, and see it diverge at the same step.
  if (error.kind() == ErrorKind::diverged) {
    try {
      rendezvous_.leave();
    } catch (...) {  // then its end tells
    }
  } else {
    rendezvous_.fail_for_all(error.what());
  }
}

}  // namespace zeroth::app
