#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace zeroth::app {

/// "; did you mean 'x'?" for the candidate nearest to `word`, or nothing where none is near: `most_edits`
/// letters away, or about a third of the word's where that is 0.
std::string did_you_mean(const std::string& word, std::span<const std::string> candidates,
                         std::size_t most_edits = 0);

}  // namespace zeroth::app
