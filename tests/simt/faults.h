#pragma once

#include <string>
#include <vector>

namespace zeroth {

struct Fault {
  std::string name;
  void (*run)();
};

/// Kernels that are wrong, each in one way. In faults.cu a comment "// culprit: NAME" marks the lines a
/// report must name.
const std::vector<Fault>& planted_faults();

}  // namespace zeroth
