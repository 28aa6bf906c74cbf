#include "kernels/core/free_memory.h"

#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

#include "kernels/core/cuda_device.h"

namespace zeroth {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kUnlimited = std::numeric_limits<std::size_t>::max();

/// The number behind `key` in a file of lines "key: 123 kB" or "key 123"; the first word without a key.
std::optional<std::size_t> read_number(const fs::path& path, const std::string& key = "") {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t begin = line.find_first_of("0123456789", key.size());
    if (begin == std::string::npos) return std::nullopt;  // "max"
    std::size_t value = 0;
    std::from_chars(line.data() + begin, line.data() + line.size(), value);
    return line.ends_with(" kB") ? value * 1024 : value;
  }
  return std::nullopt;
}

/// What is left of one group's limit. Pages of files that nobody has used for long count as free.
std::size_t left_in_group(const fs::path& folder, const char* limit, const char* used, const char* cached) {
  const auto most = read_number(folder / limit), taken = read_number(folder / used);
  if (!most || !taken) return kUnlimited;
  const std::size_t held = *taken - std::min(*taken, read_number(folder / "memory.stat", cached).value_or(0));
  return *most - std::min(*most, held);
}

/// Of this process's control group and those above it, in either version of them.
std::size_t left_in_groups(const fs::path& root) {
  std::size_t least = kUnlimited;
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool unified = controllers.empty();
    if (!unified && controllers != "memory") continue;
    const fs::path mount = root / (unified ? "sys/fs/cgroup" : "sys/fs/cgroup/memory");
    for (fs::path group = line.substr(second + 1);; group = group.parent_path()) {
      const fs::path folder = mount / group.relative_path();
      least =
          std::min(least, unified ? left_in_group(folder, "memory.max", "memory.current", "inactive_file ")
                                  : left_in_group(folder, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                                  "total_inactive_file "));
      if (group.relative_path().empty()) break;
    }
  }
  return least;
}

std::size_t left_of_address_space(const fs::path& root) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kUnlimited;
  const std::size_t used = read_number(root / "proc/self/status", "VmSize:").value_or(0);
  return limit.rlim_cur - std::min<std::size_t>(limit.rlim_cur, used);
}

std::size_t available(const fs::path& root) {
  const auto memory = read_number(root / "proc/meminfo", "MemAvailable:");
  return memory ? *memory + read_number(root / "proc/meminfo", "SwapFree:").value_or(0) : kUnlimited;
}

}  // namespace

std::size_t free_host_memory(const fs::path& root) {
  return std::min({available(root), left_in_groups(root), left_of_address_space(root)});
}

std::size_t free_memory(Device device) {
  return device.kind == DeviceKind::cuda ? cuda_native::free_bytes(device.index) : free_host_memory();
}

}  // namespace zeroth
