#include "kernels/core/free_memory.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/cuda_mock/fixture.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

/// A folder with files where /proc and /sys have theirs.
struct Root {
  fs::path path = fs::temp_directory_path() / ("zeroth-free-memory-" + std::to_string(::getpid()));
  Root() { fs::create_directories(path); }
  ~Root() { fs::remove_all(path); }
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
  }
};

}  // namespace

TEST_CASE("the host's free memory is the least that any limit leaves", "[free_memory]") {
  const Root root;
  root.write("proc/meminfo",
             "MemTotal: 16000 kB\nMemFree: 10 kB\nMemAvailable: 9000 kB\nSwapFree: 1000 kB\n");
  CHECK(free_host_memory(root.path) == 10000u * 1024);
  root.write("proc/self/cgroup", "0::/a/b\n");
  CHECK(free_host_memory(root.path) == 10000u * 1024);  // no limits are told
  root.write("sys/fs/cgroup/a/b/memory.max", "max\n");
  root.write("sys/fs/cgroup/a/b/memory.current", "500\n");
  CHECK(free_host_memory(root.path) == 10000u * 1024);
  root.write("sys/fs/cgroup/a/memory.max", "3000\n");  // of a group above
  root.write("sys/fs/cgroup/a/memory.current", "1200\n");
  CHECK(free_host_memory(root.path) == 1800);
  root.write("sys/fs/cgroup/a/memory.stat", "active_file 900\ninactive_file 200\n");
  CHECK(free_host_memory(root.path) == 2000);
  root.write("sys/fs/cgroup/a/memory.current", "5000\n");
  root.write("sys/fs/cgroup/a/memory.stat", "inactive_file 0\n");
  CHECK(free_host_memory(root.path) == 0);
}

TEST_CASE("the first version of control groups counts, too", "[free_memory]") {
  const Root root;
  root.write("proc/meminfo", "MemAvailable: 9000 kB\n");
  root.write("proc/self/cgroup", "5:cpu:/x\n4:memory:/x\n");
  root.write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "4000\n");
  root.write("sys/fs/cgroup/memory/x/memory.usage_in_bytes", "1000\n");
  CHECK(free_host_memory(root.path) == 3000);
}

TEST_CASE("a GPU says what is free, and so does the error when it is not enough", "[free_memory]") {
  cuda_mock::start({.gpus = {{}, {.memory = 1 << 20}}});
  const Device second{DeviceKind::cuda, 1};
  CHECK(free_memory(second) == 1 << 20);
  Context context(second);
  void* data = context.allocator().allocate(1 << 19);
  CHECK(free_memory(second) == 1 << 19);
  const auto [kind, message] = failure_of([&] { context.allocator().allocate((1 << 19) + 1); });
  CHECK(kind == ErrorKind::runtime);
  CHECK(message.find("out of memory on cuda:1: ") == 0);
  CHECK(message.find(" bytes were asked for, 524288 of 1048576 are free") != std::string::npos);
  context.allocator().release(data);
}

TEST_CASE("the host refuses what it has not", "[free_memory]") {
  cuda_mock::start();
  Context context({DeviceKind::cpu, 0});
  const auto [kind, message] = failure_of([&] { context.allocator().allocate(std::size_t{1} << 50); });
  CHECK(kind == ErrorKind::runtime);
  CHECK(message.find("out of memory on the host: ") == 0);
  CHECK(message.find(" are free") != std::string::npos);
}
