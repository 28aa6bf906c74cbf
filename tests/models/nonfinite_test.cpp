#include <limits>

#include "tests/models/small_training.h"

using namespace zeroth;

namespace {

void plant(SmallTraining& training, const std::string& name, float value) {
  for (const NamedTensor& tensor : training.trainer.tensors()) {
    if (tensor.name != name) continue;
    std::vector<float> values = tensor.value.to_host<float>(training.context);
    values.back() = value;
    tensor.value.copy_from(training.context, std::as_bytes(std::span(values)));
    training.network.store().refresh_working_values(training.context);
    return;
  }
  FAIL(name << " is no tensor");
}

}  // namespace

TEST_CASE("what stops being finite first is named, forward and backward", "[training][nonfinite]") {
  for (const DeviceKind device : {DeviceKind::cpu, DeviceKind::simt})
    for (const DType working : {DType::f32, DType::bf16}) {
      if (device == DeviceKind::simt && working == DType::bf16) continue;  // slowly
      INFO(name_of(device) << " " << name_of(working));
      const auto found = [&](const std::string& name, float value, double loss_scale = 1.0) {
        TrainerConfig config = small_config();
        config.optimizer.guard.loss_scale = loss_scale;
        config.batch_size = 4;
        SmallTraining training(config, 16, working, device);
        if (!name.empty()) plant(training, name, value);
        const auto before = training.values();
        for (int step = 0; step < 3; ++step) training.trainer.step();
        const StepReport report = training.trainer.take_report();
        CHECK(report.first_bad_step == (name.empty() && loss_scale == 1.0 ? 0 : 1));
        const std::string first = training.trainer.find_nonfinite(1);
        if (report.first_bad_step == 1)  // nothing has moved but the guard's own counters
          for (std::size_t i = 0; i < before.size(); ++i)
            if (before[i].first.starts_with("layer") && before[i].first.find("running") != std::string::npos)
              CHECK(before[i].second == training.values()[i].second);
        return first;
      };
      const float infinity = std::numeric_limits<float>::infinity();
      CHECK(found("", 0.0f) == "");
      CHECK(found("layer2.0.conv1.weight", infinity) ==
            "the parameter 'layer2.0.conv1.weight' (1 of 4608 values)");
      // 3e38 is finite; what batch norm makes of it is not.
      CHECK(found("layer2.0.bn1.weight", 3e38f).starts_with("the output of 'layer2.0.bn1'"));
      CHECK(found("layer3.0.bn2.weight", 3e38f).starts_with("the output of 'layer3.0.bn2'"));
      // The loss is finite, and its gradient overflows at the first layer on the way back.
      CHECK(found("", 0.0f, infinity).starts_with("the gradient of 'fc."));
    }
}
