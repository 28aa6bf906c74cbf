#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "apps/command_line.h"
#include "apps/onnx_model.h"
#include "apps/pytorch_weights.h"
#include "apps/run_folder.h"
#include "apps/trained_network.h"
#include "engine/atomic_file.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

struct ExportFlags {
  std::string checkpoint, onnx, pytorch;
};

int export_network(Said said, const ExportFlags& flags) {
  if (flags.onnx.empty() && flags.pytorch.empty())
    fail(ErrorKind::usage, "zeroth export takes --onnx FILE, --pytorch FILE or both");
  const std::string path = find_checkpoint(flags.checkpoint).string();
  // Weights are only copied: no GPU is worth waking for that.
  said.command_line.push_back({find_setting("device"), "cpu", "--device"});
  TrainedNetwork trained(SafetensorsFile(path), said);
  const CheckpointInfo& info = trained.info();
  const std::vector<NamedArray> weights = pytorch_weights(trained.context(), trained.network().store());
  const Normalisation normalisation = trained.normalisation();
  std::map<std::string, std::string> properties{
      {"model", trained.options().model},
      {"data", info.data},
      {"step", std::to_string(info.step)},
      {"mean", fmt::format("{}", fmt::join(normalisation.mean, ","))},
      {"stddev", fmt::format("{}", fmt::join(normalisation.stddev, ","))}};
  if (!info.class_names.empty())
    properties["class_names"] = fmt::format("{}", fmt::join(info.class_names, "\n"));
  const auto* resnet = dynamic_cast<const ResNet*>(&trained.network());
  if (resnet != nullptr) properties["residual"] = name_of(resnet->config().form);
  if (resnet == nullptr && !flags.onnx.empty())
    fail(ErrorKind::usage, fmt::format("--onnx writes ResNets, and {} is a network of {}; --pytorch takes it",
                                       path, trained.options().model));
  std::string written;
  if (!flags.onnx.empty()) {
    replace_file(flags.onnx, onnx_model(resnet->config(), weights, normalisation, properties));
    written += flags.onnx + '\n';
  }
  if (!flags.pytorch.empty()) {
    properties["format"] = "pt";
    write_arrays(flags.pytorch, weights, properties);
    written += flags.pytorch + '\n';
  }
  print_result(written);
  return 0;
}

}  // namespace

void add_export_command(CLI::App& program, Action& action) {
  auto settings = std::make_shared<std::unique_ptr<SettingFlags>>();
  auto flags = std::make_shared<ExportFlags>();
  CLI::App& command =
      add_command(program, "export", "A trained network for ONNX runtimes or for PyTorch.",
                  "zeroth export runs/first --onnx first.onnx\n"
                  "  zeroth export runs/first --pytorch first.safetensors\n"
                  "The ONNX model takes (N, C, H, W) pictures in [0, 1] and gives logits; the\n"
                  "safetensors file is a state dict with torchvision's names for a ResNet.",
                  action, [settings, flags] { return export_network((*settings)->said(), *flags); });
  command
      .add_option("run", flags->checkpoint,
                  "a run folder (its best checkpoint by validation, else its last) or a checkpoint")
      ->type_name("RUN|CHECKPOINT")
      ->required();
  *settings = std::make_unique<SettingFlags>(command, std::vector<std::string>{"weights"});
  command.add_option("--onnx", flags->onnx, "ONNX model to write")->type_name("FILE");
  command.add_option("--pytorch", flags->pytorch, "PyTorch state dict to write, as safetensors")
      ->type_name("FILE");
}

}  // namespace zeroth::app
