// The environment that a launcher gives a process: each line of the input is NAME=VALUE.
#include <map>
#include <sstream>

#include "engine/parallel/launch_environment.h"
#include "tests/fuzz/target.h"

namespace zeroth::fuzz {

void fuzz(Bytes input) {
  std::map<std::string, std::string> variables;
  std::istringstream text(as_text(input));
  for (std::string line; std::getline(text, line);) {
    const std::size_t equals = std::min(line.find('='), line.size());
    variables[line.substr(0, equals)] = line.substr(std::min(equals + 1, line.size()));
  }
  expect_answer([&] {
    const auto place = launch_place([&](const char* name) {
      const auto found = variables.find(name);
      return found == variables.end() ? nullptr : found->second.c_str();
    });
    if (!place) return;
    expect(place->size >= 1 && place->rank >= 0 && place->rank < place->size, "a rank that there is not");
    expect(place->local_rank >= 0 && place->local_size >= 0, "a local rank that there is not");
    expect(place->port > 0 && place->port < 65535, "a port that there is not");
  });
  expect_answer([&] { expect(!first_slurm_host(as_text(input)).empty(), "a host without a name"); });
}

}  // namespace zeroth::fuzz
