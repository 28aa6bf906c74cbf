#pragma once

#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "engine/parallel/replicas.h"
#include "tests/models/small_training.h"

namespace zeroth {

/// Convolutions without batch norm, so that pictures do not see each other: a batch is the sum of its parts.
/// One filter is used twice.
class PlainNetwork : public Network {
 public:
  PlainNetwork() {
    const auto filter = [&](const char* name, std::int64_t out, std::int64_t in) {
      return &store_.add(name, {out, 3, 3, in}, ParameterGroup::weight,
                         Initialisation::kaiming_normal(9 * in));
    };
    first_ = filter("first", 16, 3);
    twice_ = filter("twice", 16, 16);
    second_ = filter("second", 32, 16);
    alpha_ = &store_.add("alpha", {1}, ParameterGroup::alpha, Initialisation::constant(0.5));
    third_ = filter("third", 32, 32);
    weight_ = &store_.add("weight", {10, 32}, ParameterGroup::weight, Initialisation::uniform(0.3));
    bias_ = &store_.add("bias", {10}, ParameterGroup::bias, Initialisation::constant(0.0));
  }
  Variable forward(Tape& tape, const Variable& x) override {
    Variable y = relu(tape, conv2d(tape, x, tape.parameter(*first_), 1, 1));
    for (int i = 0; i < 2; ++i) y = relu(tape, conv2d(tape, y, tape.parameter(*twice_), 1, 1));
    y = relu(tape, conv2d(tape, y, tape.parameter(*second_), 2, 1));
    const Variable f = conv2d(tape, y, tape.parameter(*third_), 1, 1);
    y = residual(tape, ResidualForm::post, f, y, tape.parameter(*alpha_));
    return linear(tape, global_avg_pool(tape, y), tape.parameter(*weight_), tape.parameter(*bias_));
  }

 private:
  Parameter *first_, *twice_, *second_, *alpha_, *third_, *weight_, *bias_;
};

struct ReplicaSetup {
  Sharing sharing = Sharing::nothing;
  std::string model = "plain";  ///< PlainNetwork, or a ResNet's name
  DType working = DType::f32;
  DeviceKind device = DeviceKind::cpu;
  std::int64_t chunk_bytes = 8192;
  double shared_values = 1.0;
  Offload offload = Offload::nothing;
  bool forks = false;  ///< weight gradients beside the rest
  std::int64_t pictures = 64;
  TrainerConfig config = small_config();
};

/// One rank of a training on 8 x 8 pictures; without a communicator, the only one.
struct ReplicaTraining {
  Context context;
  std::unique_ptr<Network> network;
  std::unique_ptr<Trainer> trainer;

  ReplicaTraining(const ReplicaSetup& setup, Communicator* communicator) : context({setup.device, 0}) {
    if (setup.model == "plain")
      network = std::make_unique<PlainNetwork>();
    else
      network = std::make_unique<ResNet>(SmallTraining::small_network(setup.model.c_str()));
    const int rank = communicator == nullptr ? 0 : communicator->rank(),
              ranks = communicator == nullptr ? 1 : communicator->size();
    const Residency residency{rank,         ranks, setup.sharing, setup.chunk_bytes, setup.shared_values,
                              setup.offload};
    context.set_forks(setup.forks);
    network->store().materialise(context, 5, setup.working, residency);
    TrainerConfig config = setup.config;
    config.communicator = communicator;
    trainer = std::make_unique<Trainer>(context, *network, random_pictures(context, setup.pictures, 8),
                                        config, [n = setup.pictures](std::uint32_t epoch) {
                                          std::vector<std::int32_t> order(static_cast<std::size_t>(n));
                                          std::iota(order.begin(), order.end(), 0);
                                          std::rotate(order.begin(), order.begin() + epoch % 5, order.end());
                                          return order;
                                        });
  }
  void steps(int count) {
    for (int i = 0; i < count; ++i) trainer->step();
  }
};

/// All that a checkpoint would hold, as bytes.
using State = std::vector<HostTensor>;

inline bool same_bits(const State& a, const State& b, bool statistics = true) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!statistics && a[i].name.find("running_") != std::string::npos) continue;
    // What is reported and decides nothing: a norm, whose order of addition follows from what ranks share, and
    // sums that each rank has of its own.
    if (a[i].name == "guard.report" || a[i].name == Trainer::kMetricsName) continue;
    if (a[i].name != b[i].name || a[i].bytes != b[i].bytes) {
      UNSCOPED_INFO("differs: " << a[i].name << " and " << b[i].name);
      return false;
    }
  }
  return true;
}

inline void put_state(Trainer& trainer, const State& state, std::int64_t steps) {
  trainer.scatter_state(
      [&](const std::string& name) {
        for (const HostTensor& tensor : state)
          if (tensor.name == name) return std::span<const std::byte>(tensor.bytes);
        return std::span<const std::byte>();
      },
      steps);
}

template <class T>
std::vector<T> numbers(const HostTensor& tensor) {
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

}  // namespace zeroth
