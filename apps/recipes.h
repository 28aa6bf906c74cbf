#pragma once

#include <span>
#include <string>

namespace zeroth::app {

/// A named set of values: a configuration file that is built into the program.
struct Recipe {
  std::string name;
  std::string text;  ///< TOML; its first comment line says what it is for
};

/// From apps/recipes/, by name.
std::span<const Recipe> recipes();

/// Throws Error(usage) naming the recipes there are.
const Recipe& find_recipe(const std::string& name);

}  // namespace zeroth::app
