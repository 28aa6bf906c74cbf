#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/core/plan_choice.h"

namespace zeroth {

/// Plans that were chosen by timing, in up to two files: one of a run, so that the run goes on with the same
/// plans and so with the same bits when it is resumed, and one of the user, so that other runs need not time
/// again. What the run's file says comes first; what is taken from the other is copied into it. Each new
/// choice is written at once, to a user's file together with what other processes have added.
///
/// A file is JSON: {"format": "zeroth-plans", "version": 1, "checksum": 64-bit FNV-1a of the plans' own JSON
/// text, in hexadecimal, "plans": {problem: choice}}. A damaged file is forgotten and written anew, one of
/// another format or version is left as it is; either is told in one line, and so is a file that cannot be
/// written. Nothing fails.
class PlanFile final : public PlanRecord {
 public:
  using Tell = std::function<void(const std::string& line)>;

  /// Reads both files, where there are any. An empty path stands for no file.
  PlanFile(std::filesystem::path run, std::filesystem::path user, Tell tell);

  std::optional<std::string> find(const std::string& problem) override;
  void store(const std::string& problem, const std::string& choice) override;

 private:
  using Plans = std::map<std::string, std::string>;
  struct File {
    std::filesystem::path path;  ///< empty: not used, or no longer
    Plans plans;
  };

  void read(File& file);
  void write(File& file);

  Tell tell_;
  File run_, user_;
};

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
std::uint64_t fnv1a(std::string_view text);

}  // namespace zeroth
