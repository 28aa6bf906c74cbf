#pragma once

#include "apps/command_line.h"

namespace zeroth::app {

// Each adds its command to the program: the recipes, and the published tables that they reproduce.
void add_recipes_command(CLI::App& program, Action& action);
void add_reproduce_command(CLI::App& program, Action& action);

}  // namespace zeroth::app
