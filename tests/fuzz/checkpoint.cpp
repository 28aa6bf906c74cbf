// What a checkpoint says of its training: each line of the input is KEY=VALUE, \n in a value a new line.
#include "apps/checkpoint_info.h"
#include "apps/resolve.h"
#include "tests/fuzz/target.h"

namespace zeroth::fuzz {

void fuzz(Bytes input) {
  SafetensorsMetadata metadata;
  std::string text = as_text(input);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    const std::size_t equals = line.find('=');
    std::string value = equals == std::string::npos ? "" : line.substr(equals + 1);
    for (std::size_t at = 0; (at = value.find("\\n", at)) != std::string::npos;) value.replace(at, 2, "\n");
    metadata[line.substr(0, equals)] = value;
    begin = end + 1;
  }
  const std::filesystem::path path = scratch() / "checkpoint.safetensors";
  expect_answer([&] {
    write_safetensors(path, {}, metadata);
    const SafetensorsFile file(path);
    if (!app::is_checkpoint(file)) return;
    const app::CheckpointInfo info = app::checkpoint_info(file);
    expect(info.metadata().at("step") == metadata.at("step") || metadata.at("step").size() > 1,
           "a step changed");
    app::trained_options(info.config, path.string());
  });
}

}  // namespace zeroth::fuzz
