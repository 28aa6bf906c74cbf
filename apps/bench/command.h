#pragma once

#include "apps/command_line.h"
#include "apps/plot/drawing.h"
#include "kernels/core/context.h"

namespace zeroth::app {

// The parts of `zeroth bench`.
void add_bench_kernels_command(CLI::App& bench, Action& action);
void add_bench_train_command(CLI::App& bench, Action& action);

/// The value of a flag, parsed; a failure names the flag.
template <class Parse>
auto flag_value(const char* flag, const std::string& text, Parse&& parse) {
  try {
    return parse(text);
  } catch (const Error& error) {
    fail(error.kind(), std::string(flag) + ": " + error.what());
  }
}

/// Throws Error(usage), naming the flag, unless a chart can have this name.
inline void flag_path(const char* flag, const std::string& path) {
  flag_value(flag, path, [](const std::string& text) {
    plot::check_drawing_path(text);
    return 0;
  });
}

/// What the device is called: the processor's name, or the GPU's.
std::string processor_name(const Context& context);

}  // namespace zeroth::app
