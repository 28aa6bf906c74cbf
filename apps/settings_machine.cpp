#include <algorithm>

#include "apps/setting_table.h"
#include "kernels/core/device.h"

namespace zeroth::app {

namespace {

const Choices<DType> kPrecisions{{"off", DType::f32}, {"bf16", DType::bf16}, {"fp16", DType::f16}};
const Choices<CudnnPlans> kCudnnPlans{{"timed", CudnnPlans::timed}, {"heuristic", CudnnPlans::heuristic}};
const Choices<StepMode> kStepModes{
    {"eager", StepMode::eager}, {"planned", StepMode::planned}, {"captured", StepMode::captured}};

const Setting::Condition kFp16{"--amp fp16", [](const TrainOptions& o) { return o.amp == DType::f16; }};
const Setting::Condition kDynamicScale{"--amp fp16 and --loss-scale dynamic", [](const TrainOptions& o) {
                                         return o.amp == DType::f16 && !o.loss_scale;
                                       }};

}  // namespace

void add_machine_settings(SettingTable& table) {
  table.group("Machine");
  Setting& device =
      table.text("device", &TrainOptions::device, "NAME", "",
                 "auto, cpu, cuda, cuda:N, or simt (the CUDA kernels on the CPU, for tests: very slow)");
  device.parse = [](TrainOptions& o, const std::string& value) {
    if (value != "auto") static_cast<void>(parse_device(value));
    o.device = value;
  };
  table.choice("amp", &TrainOptions::amp, kPrecisions,
               "mixed precision: 16-bit activations and weights over f32 masters");
  Setting& loss_scale = table.add(
      "loss_scale", "dynamic|X", ValueType::text,
      "factor of the loss that keeps fp16 gradients above their smallest number",
      [](TrainOptions& o, const std::string& value) {
        o.loss_scale = value == "dynamic" ? std::nullopt : std::optional(parse_real(value, kPositive));
      },
      [](const TrainOptions& o) { return o.loss_scale ? print_real(*o.loss_scale) : "dynamic"; });
  loss_scale.only_with = kFp16;
  table
      .integer("loss_scale_growth_interval", &TrainOptions::loss_scale_growth_interval, 1, kMany,
               "steps without overflow after which a dynamic loss scale doubles")
      .only_with = kDynamicScale;
  table
      .integer("loss_scale_hysteresis", &TrainOptions::loss_scale_hysteresis, 1, kMany,
               "overflows in a row from which on a dynamic loss scale halves")
      .only_with = kDynamicScale;
  Setting& threads =
      table.integer("threads", &TrainOptions::threads, 1, 4096, "every core there is", "CPU threads");
  device.may_change = threads.may_change = true;
  device.in_checkpoint = false;  // threads are kept: sums cut differently give other last bits
  table.boolean("deterministic", &TrainOptions::deterministic,
                "only implementations that give the same bits every time");
  table
      .boolean("tf32", &TrainOptions::tf32,
               "let libraries round the factors of f32 products to 10 bits, for tensor cores (cuda)")
      .may_change = true;
  table
      .choice("cudnn_plans", &TrainOptions::cudnn_plans, kCudnnPlans,
              "convolutions on cuda: the fastest of cuDNN's plans, timed once and remembered, or the one "
              "that cuDNN "
              "holds to be best; with --deterministic always the latter")
      .may_change = true;
  Setting& step = table.add(
      "step", "NAME", ValueType::text,
      "how steps are queued: eager, planned (in one block of memory), captured (as one CUDA graph), or auto: "
      "captured "
      "on cuda, planned on cpu, eager on simt; the results are the same",
      [](TrainOptions& o, const std::string& value) {
        if (value != "auto" && std::none_of(kStepModes.begin(), kStepModes.end(),
                                            [&](const auto& choice) { return value == choice.first; }))
          fail(ErrorKind::usage,
               fmt::format("expected one of auto, {}, not '{}'", names_of(kStepModes), value));
        o.step = value == "auto" ? std::nullopt : std::optional(parse_choice(kStepModes, value));
      },
      [](const TrainOptions& o) { return o.step ? print_choice(kStepModes, *o.step) : "auto"; });
  step.may_change = true;
  step.in_checkpoint = false;
  Setting& sync_launches = table.boolean(
      "sync_launches", &TrainOptions::sync_launches,
      "for finding faults: wait after every kernel, so that an error names the one that failed (cuda): slow");
  sync_launches.may_change = true;
  sync_launches.recorded = sync_launches.in_checkpoint = false;
  Setting& impl = table.add(
      "impl", "OP=ROW", ValueType::list,
      "implementation of an operation, as `zeroth info` lists them (OP=ROW+ROW: the first of these that "
      "fits); may be given again for others; default: the first that fits",
      [](TrainOptions& o, const std::string& value) {
        const std::vector<std::string> parts = parse_list(value == "default" ? "" : value);
        for (const std::string& part : parts) {
          const std::size_t equals = part.find('=');
          if (equals == std::string::npos || equals == 0 || equals + 1 == part.size())
            fail(ErrorKind::usage,
                 fmt::format("expected OPERATION=ROW, OPERATION=ROW+ROW or default, not '{}'", part));
        }
        o.impl = parts;
      },
      [](const TrainOptions& o) { return fmt::format("{}", fmt::join(o.impl, ",")); });
  impl.unset = "default";
  impl.may_change = true;
}

}  // namespace zeroth::app
