// For safetensors_peer_test.py: zeroth's reader and writer as commands.

#include <cstdio>
#include <string_view>

#include "engine/safetensors.h"
#include "kernels/core/error.h"

using namespace zeroth;

namespace {

/// Reads one file and writes what was in it to another.
int copy(const char* from, const char* to) {
  const SafetensorsFile file(from);
  write_safetensors(to, file.tensors(), file.metadata());
  return 0;
}

/// One line for each file: "intact" or why it is refused.
int check(int count, char** paths) {
  for (int i = 0; i < count; ++i) {
    try {
      const SafetensorsFile file(paths[i]);
      std::puts("intact");
    } catch (const Error& error) {
      std::puts(error.what());
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  try {
    if (command == "copy" && argc == 4) return copy(argv[2], argv[3]);
    if (command == "check") return check(argc - 2, argv + 2);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.kind());
  }
  std::fputs("usage: safetensors_tool copy FROM TO | check FILE...\n", stderr);
  return 2;
}
