// simt_faults NAME: runs one planted fault. Exits with 3 when the harness reported it as an error, with 0
// when it went unnoticed; a sanitizer ends the process in its own way.

#include <cstdio>
#include <exception>

#include "tests/simt/faults.h"

int main(int argc, char** argv) {
  for (const zeroth::Fault& fault : zeroth::planted_faults()) {
    if (argc != 2 || fault.name != argv[1]) continue;
    try {
      fault.run();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      return 3;
    }
    return 0;
  }
  std::fprintf(stderr, "usage: simt_faults NAME\n");
  return 2;
}
