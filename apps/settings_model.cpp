#include "apps/session.h"
#include "apps/setting_table.h"

namespace zeroth::app {

namespace {

const Choices<ResidualForm> kResidualForms{
    {"plain", ResidualForm::plain}, {"post", ResidualForm::post}, {"authors", ResidualForm::authors}};
const Choices<ShortcutKind> kShortcuts{{"A", ShortcutKind::a}, {"B", ShortcutKind::b}};

}  // namespace

const Setting::Condition kReZero{
    "a ReZero model (--model rezero-..., --residual post or authors)", [](const TrainOptions& o) {
      return is_resnet(o.model) && o.residual.value_or(resnet_config(o.model).form) != ResidualForm::plain;
    }};

namespace {
const Setting::Condition kResNet{"a ResNet", [](const TrainOptions& o) { return is_resnet(o.model); }};
}

void add_model_settings(SettingTable& table) {
  table.group("Model");
  table
      .text("model", &TrainOptions::model, "NAME", "",
            "resnet20, 32, 44, 56, 110, 1202 or any depth 6n + 2, resnet18 (ImageNet stem), resnet18-cifar; "
            "rezero- before the name for ReZero blocks; airbench, of the 94 % speed runs")
      .parse = [](TrainOptions& o, const std::string& value) {
    if (is_resnet(value)) static_cast<void>(resnet_config(value));  // throws for a name there is not
    o.model = value;
  };
  Setting& residual = table.add(
      "residual", "NAME", ValueType::text,
      fmt::format("form of the residual block: {}", names_of(kResidualForms)),
      [](TrainOptions& o, const std::string& value) { o.residual = parse_choice(kResidualForms, value); },
      [](const TrainOptions& o) { return o.residual ? print_choice(kResidualForms, *o.residual) : ""; });
  residual.unset = "by the model's name";
  residual.only_with = kResNet;
  table.choice("shortcut", &TrainOptions::shortcut, kShortcuts, "shortcut where the shape changes")
      .only_with = kResNet;
  table.real("alpha_init", &TrainOptions::alpha_init, kAnyReal, "first value of every alpha (ReZero)")
      .only_with = kReZero;
  table.text("init", &TrainOptions::init, "FILE", "random",
             "start from the weights of a checkpoint, or of a PyTorch state dict as safetensors");
}

}  // namespace zeroth::app
