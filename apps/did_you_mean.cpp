#include "apps/did_you_mean.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace zeroth::app {

namespace {

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1), above(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j)
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
    std::swap(row, above);
  }
  return above[b.size()];
}

}  // namespace

std::string did_you_mean(const std::string& word, std::span<const std::string> candidates,
                         std::size_t most_edits) {
  const std::string* nearest = nullptr;
  std::size_t distance = (most_edits > 0 ? most_edits : std::max<std::size_t>(2, word.size() / 3)) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t here = edit_distance(word, candidate);
    if (here < distance) {
      distance = here;
      nearest = &candidate;
    }
  }
  return nearest == nullptr ? "" : fmt::format("; did you mean '{}'?", *nearest);
}

}  // namespace zeroth::app
