#pragma once

#include <string>
#include <vector>

namespace zeroth::app {

/// What `zeroth info` and measurements say of the CPU.
struct Processor {
  std::string name = "unknown";
  std::vector<std::string> features;
};

/// From /proc/cpuinfo, which x86 and Arm fill with the same keys or nearly so.
Processor read_processor();

}  // namespace zeroth::app
