#include "apps/ranks.h"

#include <fmt/format.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "apps/command_line.h"
#include "apps/launch.h"
#include "apps/parse_value.h"
#include "apps/session.h"
#include "apps/version.h"
#include "engine/parallel/gloo_communicator.h"
#include "engine/parallel/nccl_communicator.h"
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
  return checkpoint_config(options);
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

void Ranks::connect(Context& context) {
  communicator_ = context.device().kind == DeviceKind::cuda ? make_nccl_communicator(rendezvous_, context)
                                                            : make_gloo_communicator(rendezvous_);
}

void Ranks::share(Context& context, std::span<const NamedTensor> tensors) {
  for (const NamedTensor& tensor : tensors) communicator_->broadcast(context, tensor.value, 0);
  communicator_->join(context);
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
