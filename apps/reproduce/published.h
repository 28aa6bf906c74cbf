#pragma once

#include <optional>
#include <string>

namespace zeroth::app {

/// One row of a published table; what it does not say is unset. Errors in percent.
struct Published {
  std::string source, row;
  std::optional<int> epochs;
  std::optional<double> validation_error, test_error;
  std::string time;
};

/// Sources of published rows.
inline constexpr const char* kReZeroTable = "fabio-deep/ReZero-ResNet";
inline constexpr const char* kColossalAi = "ColossalAI";
inline constexpr const char* kResNetPaper = "He et al. 2015";

/// The row that a source published, or nullptr.
const Published* find_published(const std::string& source, const std::string& row);

}  // namespace zeroth::app
