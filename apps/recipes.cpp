#include "apps/recipes.h"

#include <fmt/format.h>

#include <vector>

#include "apps/did_you_mean.h"
#include "apps/options.h"
#include "kernels/core/error.h"

namespace zeroth::app {

const Recipe& find_recipe(const std::string& name) {
  std::vector<std::string> names;
  std::string list;
  for (const Recipe& recipe : recipes()) {
    if (recipe.name == name) return recipe;
    names.push_back(recipe.name);
    list += (list.empty() ? "" : ", ") + recipe.name;
  }
  fail(ErrorKind::usage,
       fmt::format("no recipe '{}': there are {}{}", name, list, did_you_mean(name, names)));
}

}  // namespace zeroth::app
