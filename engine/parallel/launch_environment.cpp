#include "engine/parallel/launch_environment.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>

#include "kernels/core/error.h"

namespace zeroth {

namespace {

constexpr int kMostRanks = 65536, kDefaultPort = 29500;
constexpr int kLastPort = 65534;  // the port after it is used, too

/// The names that a launcher gives its variables.
struct Launcher {
  const char *name, *rank, *size, *local_rank, *local_size;
};

constexpr std::array<Launcher, 4> kLaunchers{
    {{"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
     {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
      "OMPI_COMM_WORLD_LOCAL_SIZE"},
     {"PMI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
     {"Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", ""}}};

class Environment {
 public:
  explicit Environment(const EnvironmentLookup& lookup) : lookup_(lookup) {}

  std::string text(const char* name) const {
    const char* value = *name == '\0' ? nullptr : lookup_(name);
    return value == nullptr ? "" : value;
  }
  std::optional<int> number(const char* name, int least, int most) const {
    const std::string value = text(name);
    if (value.empty()) return {};
    std::int64_t parsed = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
    if (error != std::errc() || end != value.data() + value.size() || parsed < least || parsed > most)
      fail(ErrorKind::usage, fmt::format("the environment has {}={}: expected a whole number from {} to {}",
                                         name, value.substr(0, 64), least, most));
    return static_cast<int>(parsed);
  }

 private:
  const EnvironmentLookup& lookup_;
};

int need(const Environment& environment, const Launcher& launcher, const char* name, int least, int most) {
  const std::optional<int> value = environment.number(name, least, most);
  if (!value)
    fail(ErrorKind::usage,
         fmt::format("the environment has {}, but no {}: {} sets both", launcher.rank, name, launcher.name));
  return *value;
}

void find_master(const Environment& environment, const Launcher& launcher, LaunchPlace& place) {
  const bool slurm = launcher.name == std::string("Slurm");
  place.master = environment.text("MASTER_ADDR");
  if (place.master.empty() && slurm) {
    for (const char* list : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"})
      if (place.master.empty() && !environment.text(list).empty())
        place.master = first_slurm_host(environment.text(list));
  }
  if (place.master.empty() && (place.size == 1 || place.local_size == place.size)) place.master = "127.0.0.1";
  if (place.master.empty())
    fail(ErrorKind::usage, fmt::format("the environment has {}={}, but no MASTER_ADDR, the host of rank 0",
                                       launcher.rank, place.rank));
  int port = kDefaultPort;
  // Jobs that share a machine meet at different ports.
  if (const auto job = slurm ? environment.number("SLURM_JOB_ID", 0, INT32_MAX) : std::nullopt)
    port = 20000 + *job % 20000;
  place.port = environment.number("MASTER_PORT", 1, kLastPort).value_or(port);
}

}  // namespace

std::string first_slurm_host(const std::string& list) {
  const auto refuse = [&] [[noreturn]] {
    fail(ErrorKind::usage, fmt::format("no list of hosts as Slurm writes it: '{}'", list.substr(0, 64)));
  };
  std::size_t at = list.find_first_of(",[");
  std::string host = list.substr(0, at);
  while (at != std::string::npos && list[at] == '[') {  // node[07-09,12] or rack[1-2]node[3-4]
    const std::size_t close = list.find(']', at), end = list.find_first_of("-,]", at);
    const std::string first = close == std::string::npos ? "" : list.substr(at + 1, end - at - 1);
    if (first.empty() || first.find_first_not_of("0123456789") != std::string::npos) refuse();
    at = list.find_first_of(",[", close + 1);
    host += first + list.substr(close + 1, at == std::string::npos ? at : at - close - 1);
  }
  if (host.empty() || host.find_first_of(" ]\t\n") != std::string::npos) refuse();
  return host;
}

std::optional<LaunchPlace> launch_place(const EnvironmentLookup& lookup) {
  const Environment environment(lookup);
  for (const Launcher& launcher : kLaunchers) {
    const std::optional<int> rank = environment.number(launcher.rank, 0, kMostRanks - 1);
    if (!rank) continue;
    LaunchPlace place;
    place.launcher = launcher.name;
    place.rank = *rank;
    // A step of a Slurm job may have fewer tasks than the job.
    const auto step = launcher.name == std::string("Slurm")
                          ? environment.number("SLURM_STEP_NUM_TASKS", 1, kMostRanks)
                          : std::nullopt;
    place.size = step ? *step : need(environment, launcher, launcher.size, 1, kMostRanks);
    if (place.rank >= place.size)
      fail(ErrorKind::usage, fmt::format("the environment has {}={}: the {} ranks are numbered from 0 to {}",
                                         launcher.rank, place.rank, place.size, place.size - 1));
    place.local_size =
        environment.number(launcher.local_size, 1, place.size).value_or(place.size == 1 ? 1 : 0);
    const std::optional<int> local = environment.number(launcher.local_rank, 0, place.size - 1);
    if (place.local_size > 0 && local.value_or(0) >= place.local_size)
      fail(ErrorKind::usage, fmt::format("the environment has {}={}, but {}={}", launcher.local_rank, *local,
                                         launcher.local_size, place.local_size));
    place.local_rank = local.value_or(place.size == place.local_size ? place.rank : 0);
    find_master(environment, launcher, place);
    return place;
  }
  return {};
}

std::optional<LaunchPlace> launch_place() {
  return launch_place([](const char* name) { return static_cast<const char*>(std::getenv(name)); });
}

}  // namespace zeroth
