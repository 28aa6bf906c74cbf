#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>

namespace zeroth {

/// Remembers, perhaps beyond this process, which of the plans that a library offers for a problem was taken.
/// Problems and choices are lines of text; a problem's names all that a choice depends on: library, version,
/// GPU. Neither function throws: a memory that fails only forgets.
class PlanRecord {
 public:
  virtual ~PlanRecord() = default;
  virtual std::optional<std::string> find(const std::string& problem) = 0;
  virtual void store(const std::string& problem, const std::string& choice) = 0;
};

/// How long to look for the fastest candidate.
struct TimingLimits {
  std::size_t candidates = 8;  ///< that could be prepared
  int runs = 5;                ///< of each; the median counts
  double seconds = 0.5;        ///< for a problem: no candidate is prepared later, and one always is
  double gain = 0.03;          ///< by which a later candidate must be faster: smaller ones are noise
};

/// What candidates can do.
struct CandidateTrial {
  std::function<bool(std::size_t index)> prepare;               ///< whether it can run
  std::function<std::optional<double>(std::size_t index)> run;  ///< seconds; nothing where it failed
  std::function<double()> now;                                  ///< seconds on some clock
};

/// The fastest of `count` candidates, which come in the library's order of preference; nothing where none
/// runs.
std::optional<std::size_t> fastest_candidate(std::size_t count, const CandidateTrial& trial,
                                             const TimingLimits& limits = {});

}  // namespace zeroth
