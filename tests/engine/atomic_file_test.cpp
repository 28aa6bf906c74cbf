#include "engine/atomic_file.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>

#include "engine/run_log.h"
#include "tests/data/scratch.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

int interruptions = 0;  // how many of the next calls a signal ends

bool interrupted() {
  if (interruptions == 0) return false;
  --interruptions;
  errno = EINTR;
  return true;
}

}  // namespace

// These take the place of the C library's in the whole test program.
extern "C" int fsync(int descriptor) {
  return interrupted() ? -1 : static_cast<int>(::syscall(SYS_fsync, descriptor));
}

extern "C" int open(const char* path, int flags, ...) {
  if (interrupted()) return -1;
  va_list arguments;
  va_start(arguments, flags);
  const int mode = (flags & O_CREAT) != 0 ? va_arg(arguments, int) : 0;
  va_end(arguments);
  return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

TEST_CASE("files are replaced and logs written though signals interrupt every wait", "[atomic_file]") {
  const ScratchFolder scratch;
  for (const int times : {1, 2, 3, 5}) {
    CAPTURE(times);
    const std::string text = "text " + std::to_string(times);
    interruptions = times;
    replace_file(scratch / "file", text);
    CHECK(interruptions == 0);
    CHECK(read_text(scratch / "file") == text);
  }
  RunLog log(scratch.path(), "generated", 0);
  interruptions = 2;
  log.write(StepRecord{});
  CHECK(interruptions == 0);
  CHECK(contains(read_text(scratch / "log.jsonl"), "\"step\":0"));
}
