// One training step through the installed libraries.

#include <cmath>
#include <cstdio>
#include <numeric>
#include <span>

#include "data/generated.h"
#include "engine/trainer.h"
#include "models/resnet.h"

int main() {
  using namespace zeroth;
  const Dataset set = generate_dataset(kGeneratedSeed, 8, 0);
  Context context{Device{}};
  ResNet network(resnet_config("resnet20"));
  network.store().materialise(context, 1);

  PictureSet train;
  train.classes = set.classes();
  train.pictures = Tensor::from_host<std::uint8_t>(
      context, {set.train.count, set.train.height, set.train.width, set.train.channels},
      std::span(set.train.pixels));
  train.labels = Tensor::from_host<std::int32_t>(context, {set.train.count}, std::span(set.train.labels));

  TrainerConfig config;
  config.batch_size = 8;
  config.rates.fill({0.1, 0.0});
  Trainer trainer(context, network, train, config, [](std::uint32_t) {
    std::vector<std::int32_t> order(8);
    std::iota(order.begin(), order.end(), 0);
    return order;
  });
  trainer.step();
  const Metrics metrics = trainer.take_metrics();
  std::printf("resnet20: %lld parameters, loss %.4f over %lld pictures\n",
              static_cast<long long>(network.store().count()), metrics.loss,
              static_cast<long long>(metrics.rows));
  return std::isfinite(metrics.loss) && metrics.rows == 8 ? 0 : 1;
}
