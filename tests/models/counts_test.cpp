#include "models/problems.h"
#include "tests/catch.h"

using namespace zeroth;

namespace {

struct Counts {
  int depth;
  std::int64_t a_plain, a_rezero, b_plain, b_rezero, alphas;
  double b_mega_macs;  // multiply-adds of one picture, shortcut B, in millions, as published
  double tolerance;    // half a unit in the last published place
};

// Parameter and multiply-add counts of the ReZero-ResNet networks (fabio-deep/ReZero-ResNet), both shortcuts.
constexpr Counts kCifarNetworks[] = {
    {20, 269'722, 269'731, 272'474, 272'483, 9, 40.81, 0.005},
    {32, 464'154, 464'169, 466'906, 466'921, 15, 69.12, 0.005},
    {44, 658'586, 658'607, 661'338, 661'359, 21, 97.44, 0.005},
    {56, 853'018, 853'045, 855'770, 855'797, 27, 125.75, 0.005},
    {110, 1'727'962, 1'728'016, 1'730'714, 1'730'768, 54, 253.15, 0.005},
    {1202, 19'421'274, 19'421'874, 19'424'026, 19'424'626, 600, 2829.5, 0.05},
};

ResNet network(const std::string& name, ShortcutKind shortcut, ResidualForm form) {
  ResNetConfig config = resnet_config(name);
  config.shortcut = shortcut;
  config.form = form;
  return ResNet(config);
}

std::int64_t parameters_of(const std::vector<LayerInfo>& layers) {
  std::int64_t total = 0;
  for (const LayerInfo& layer : layers) total += layer.parameters;
  return total;
}

double mega(std::int64_t count) {
  return static_cast<double>(count) / 1e6;
}

}  // namespace

TEST_CASE("parameter and multiply-add counts of the CIFAR networks", "[models]") {
  for (const Counts& expected : kCifarNetworks) {
    CAPTURE(expected.depth);
    const std::string name = "resnet" + std::to_string(expected.depth);
    const auto count = [&](ShortcutKind shortcut, ResidualForm form) {
      const ResNet net = network(name, shortcut, form);
      CHECK(parameters_of(net.layers()) == net.store().count());
      return net.store().count();
    };
    CHECK(count(ShortcutKind::a, ResidualForm::plain) == expected.a_plain);
    CHECK(count(ShortcutKind::a, ResidualForm::post) == expected.a_rezero);
    CHECK(count(ShortcutKind::a, ResidualForm::authors) == expected.a_rezero);
    CHECK(count(ShortcutKind::b, ResidualForm::plain) == expected.b_plain);
    CHECK(count(ShortcutKind::b, ResidualForm::post) == expected.b_rezero);
    CHECK(expected.b_rezero - expected.b_plain == expected.alphas);
    const ResNet net = network(name, ShortcutKind::b, ResidualForm::post);
    CHECK(std::abs(mega(net.multiply_adds()) - expected.b_mega_macs) <= expected.tolerance);
  }
}

TEST_CASE("a rezero name stands for the form post", "[models]") {
  const ResNet net(resnet_config("rezero-resnet56"));
  CHECK(net.config().form == ResidualForm::post);
  CHECK(net.store().count() == 855'797);
}

TEST_CASE("parameter and multiply-add counts of ResNet-18 with either stem", "[models]") {
  const ResNet imagenet(resnet_config("resnet18"));
  CHECK(imagenet.store().count() == 11'181'642);
  CHECK(std::abs(mega(imagenet.multiply_adds()) - 37.0) <= 0.05);
  const ResNet cifar(resnet_config("resnet18-cifar"));
  CHECK(cifar.store().count() == 11'173'962);
  CHECK(std::abs(mega(cifar.multiply_adds()) - 555.4) <= 0.05);
}

TEST_CASE("the ImageNet stem leaves maps of 8, 4, 2 and 1 pixels", "[models]") {
  const std::vector<LayerInfo> layers = ResNet(resnet_config("resnet18")).layers();
  const auto output_of = [&](const std::string& name) {
    for (const LayerInfo& layer : layers)
      if (layer.name == name) return layer.output;
    return Shape();
  };
  CHECK(output_of("layer1.1") == Shape{8, 8, 64});
  CHECK(output_of("layer2.1") == Shape{4, 4, 128});
  CHECK(output_of("layer3.1") == Shape{2, 2, 256});
  CHECK(output_of("layer4.1") == Shape{1, 1, 512});
}

TEST_CASE("the problems of a training step are those of the layers", "[models]") {
  for (const char* name : {"resnet20", "rezero-resnet110", "resnet18", "rezero-resnet18-cifar"})
    for (const ShortcutKind shortcut : {ShortcutKind::a, ShortcutKind::b}) {
      INFO(name);
      ResNetConfig config = resnet_config(name);
      config.shortcut = shortcut;
      const ResNet net(config);
      std::int64_t multiply_adds = 0, norm_parameters = 0, joins = 0, pools = 0;
      for (const auto& [problem, count, accumulating, first] : problems_of(config, 7)) {
        if (const auto* conv = std::get_if<Conv2dParams>(&problem))
          multiply_adds += count * conv->multiply_adds();
        else if (const auto* linear = std::get_if<LinearParams>(&problem))
          multiply_adds += count * linear->n * linear->c * linear->k;
        else if (const auto* norm = std::get_if<BatchNormParams>(&problem))
          norm_parameters += count * 2 * norm->channels;
        if (const auto* fused = std::get_if<BatchNormActParams>(&problem)) {
          norm_parameters += count * 2 * fused->channels;
          joins += count * (fused->epilogue == epilogue_of(config.form));
        }
        pools += count * (std::holds_alternative<MaxPoolParams>(problem) ||
                          std::holds_alternative<AvgPoolParams>(problem));
      }
      CHECK(multiply_adds == 7 * net.multiply_adds());
      std::int64_t in_layers = 0, joins_in_layers = 0, pools_in_layers = 0;
      for (const LayerInfo& layer : net.layers()) {
        in_layers += layer.kind.starts_with("batch_norm") ? layer.parameters : 0;
        joins_in_layers += layer.kind.starts_with("residual");
        pools_in_layers += layer.kind.ends_with("pool");
      }
      CHECK(norm_parameters == in_layers);
      CHECK(joins == joins_in_layers);
      CHECK(pools == pools_in_layers);
    }
}

TEST_CASE("names of models that do not exist are refused", "[models]") {
  for (const char* name :
       {"resnet", "resnet19", "resnet2", "resnet20x", "rezero", "rezero-rezero-resnet20", "vgg16", ""})
    CHECK_THROWS_AS(resnet_config(name), Error);
}
