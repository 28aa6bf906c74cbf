// A configuration file, and the same text as a checkpoint's configuration.
#include "apps/config_file.h"
#include "apps/resolve.h"
#include "tests/fuzz/target.h"

namespace zeroth::fuzz {

void fuzz(Bytes input) {
  const std::string text = as_text(input);
  expect_answer([&] {
    app::Said said;
    said.file = app::read_config_text(text, "fuzzed.toml");
    const app::TrainOptions options = app::resolve(said);
    // What is kept of a run reads back as the same.
    const std::string kept = app::checkpoint_config(options);
    expect(app::checkpoint_config(app::trained_options(kept, "kept")) == kept,
           "a configuration changed: " + kept);
  });
  expect_answer([&] { app::trained_options(text, "fuzzed.safetensors"); });
}

}  // namespace zeroth::fuzz
