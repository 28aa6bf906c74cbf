// What ranks that share save and send: memory from the allocator, bytes on the wire, the host's part; and
// what they decide together.

#include <filesystem>
#include <iostream>
#include <map>
#include <mutex>

#include "engine/checkpoint.h"
#include "engine/parallel/placement.h"
#include "tests/parallel/replica_training.h"

using namespace zeroth;

namespace {

constexpr Sharing kSharings[] = {Sharing::nothing, Sharing::optimizer_state, Sharing::gradients,
                                 Sharing::values};
constexpr const char* kNames[] = {"ddp", "zero1", "zero2", "gemini"};

/// Large matrices and hardly any activations.
class Matrices : public Network {
 public:
  static constexpr std::int64_t kWidth = 256, kDepth = 8;
  Matrices() {
    for (std::int64_t i = 0; i < kDepth + 2; ++i) {
      const std::string name = "layer" + std::to_string(i);
      const std::int64_t in = i == 0 ? 3 : kWidth, out = i == kDepth + 1 ? 10 : kWidth;
      layers_.emplace_back(
          &store_.add(name + ".weight", {out, in}, ParameterGroup::weight, Initialisation::uniform(0.1)),
          &store_.add(name + ".bias", {out}, ParameterGroup::bias, Initialisation::constant(0.0)));
    }
  }
  Variable forward(Tape& tape, const Variable& x) override {
    Variable y = global_avg_pool(tape, x);
    for (const auto& [weight, bias] : layers_)
      y = linear(tape, y, tape.parameter(*weight), tape.parameter(*bias));
    return y;
  }

 private:
  std::vector<std::pair<Parameter*, Parameter*>> layers_;
};

struct Wish {
  Sharing sharing = Sharing::nothing;
  Offload offload = Offload::nothing;
  double shared_values = 1.0;
  DType working = DType::f32;
  std::int64_t chunk_bytes = Matrices::kWidth * Matrices::kWidth * 4;
  int steps = 3;
};

struct Measured {
  StateBytes expected;
  std::size_t peak = 0;  // of a step, by the allocator
  Traffic traffic;       // of a step
  State state;
  std::vector<std::int64_t> chunk_bytes;  // as operations see them; the last one is not of weights
};

/// What rank 0 of `ranks` sees; Adam.
Measured measure(int ranks, const Wish& wish, const State* from = nullptr) {
  Measured measured;
  run_replicas(ranks, [&](Communicator& communicator) {
    Context context({DeviceKind::cpu, 0});
    Matrices network;
    PlacementWish placement;
    placement.sharing = wish.sharing;
    placement.offload = wish.offload;
    placement.moments = 2;
    placement.shared_values = wish.shared_values;
    placement.chunk_bytes = wish.chunk_bytes;
    ParameterStore& store = network.store();
    const Residency residency = place_parameters(store, wish.working, communicator.rank(), ranks, placement);
    store.materialise(context, 5, wish.working, residency);
    TrainerConfig config = small_config();
    config.batch_size = 4;
    config.optimizer.kind = OptimizerKind::adamw;
    config.rates.fill({1e-3, 1e-2});
    config.step_mode = StepMode::eager;
    config.communicator = &communicator;
    Trainer trainer(context, network, random_pictures(context, 64, 8), config, [](std::uint32_t) {
      std::vector<std::int32_t> order(64);
      std::iota(order.begin(), order.end(), 0);
      return order;
    });
    if (from != nullptr) put_state(trainer, *from, wish.steps);
    for (int step = 1; step < wish.steps; ++step) trainer.step();
    const Traffic before = communicator.traffic();
    context.allocator().reset_peak();
    trainer.step();
    const std::size_t peak = context.allocator().peak_bytes();
    const Traffic after = communicator.traffic();
    const State state = trainer.gather_state();
    if (communicator.rank() != 0) return;
    measured.expected = state_bytes(store, 2);
    measured.peak = peak;
    measured.traffic = {after.collectives - before.collectives, after.bytes - before.bytes};
    measured.state = state;
    for (const Chunk& chunk : store.chunks())
      measured.chunk_bytes.push_back(
          chunk.elements() *
          static_cast<std::int64_t>(size_of(chunk.working ? wish.working : statistics_dtype(wish.working))));
  });
  return measured;
}

}  // namespace

TEST_CASE("ranks that share hold a k-th, by the allocator", "[parallel][sharing]") {
  for (const DType working : {DType::f32, DType::bf16}) {
    Wish wish;
    wish.working = working;
    // Activations, pictures, scratch memory: the same whatever is shared.
    const Measured alone = measure(1, wish);
    const auto rest =
        static_cast<std::int64_t>(alone.peak) - static_cast<std::int64_t>(alone.expected.on_device());
    CHECK(rest >= 0);
    CHECK(rest < alone.expected.on_device() / 4);
    for (const int ranks : {2, 4})
      for (const Sharing sharing : kSharings)
        for (const Offload offload : {Offload::nothing, Offload::optimizer, Offload::all}) {
          INFO(name_of(working) << ", " << ranks << " ranks, " << kNames[static_cast<int>(sharing)]
                                << ", offload " << static_cast<int>(offload));
          wish.sharing = sharing;
          wish.offload = offload;
          const Measured measured = measure(ranks, wish);
          const StateBytes &whole = alone.expected, &part = measured.expected;
          // The allocator rounds sizes up by an eighth at most. A chunk of own values is on its way besides.
          const std::int64_t state = static_cast<std::int64_t>(measured.peak) - rest;
          CHECK(state <= part.on_device() + part.on_device() / 8 + 3 * wish.chunk_bytes);
          CHECK(state >= part.on_device() - whole.on_device() / 8 - wish.chunk_bytes);
          const std::int64_t padding = ranks * kParameterSegment * 4 * 16;
          if (offload == Offload::nothing && sharing != Sharing::nothing) {
            // Without mixed precision the values that the optimizer updates are those that operations read.
            const std::int64_t masters = working == DType::f32 ? whole.values : 0;
            CHECK(part.optimizer <= (whole.optimizer + masters) / ranks + padding);
          }
          if (offload != Offload::nothing) CHECK(part.optimizer == 0);
          if (sharing == Sharing::values)
            CHECK(part.values <=
                  whole.values / ranks + 3 * wish.chunk_bytes + measured.chunk_bytes.back() + padding);
          if (sharing >= Sharing::gradients)
            CHECK(part.gradients <= whole.gradients / ranks + 3 * wish.chunk_bytes + padding);
        }
  }
}

TEST_CASE("a step sends what the strategy's theory says", "[parallel][sharing]") {
  for (const DType working : {DType::f32, DType::bf16})
    for (const int ranks : {1, 2, 4})
      for (const Sharing sharing : kSharings) {
        INFO(name_of(working) << ", " << ranks << " ranks, " << kNames[static_cast<int>(sharing)]);
        Wish wish;
        wish.working = working;
        wish.sharing = sharing;
        const Measured measured = measure(ranks, wish);
        const std::vector<std::int64_t>& chunks = measured.chunk_bytes;
        REQUIRE(chunks.size() > 4);
        const auto of_ring = [&](std::int64_t bytes) { return bytes * (ranks - 1) / ranks; };
        std::int64_t bytes = 0, collectives = 0;
        for (std::size_t i = 0; i < chunks.size(); ++i) {
          // Gradients are summed and scattered, values gathered: all-reduce is both. Where values are shared,
          // they are gathered for forward and again for backward, which begins with the last two that forward
          // had.
          const bool again = sharing == Sharing::values && i + 3 < chunks.size();
          const int times = again ? 3 : 2;
          bytes += times * of_ring(chunks[i]);
          collectives += sharing == Sharing::nothing ? 1 : times;
        }
        if (sharing != Sharing::nothing) {  // the verdict: a sum of squares and a segment
          bytes += of_ring(8 * ranks) + of_ring(4 * ranks);
          collectives += 2;
        }
        CHECK(measured.traffic.bytes == bytes);
        CHECK(measured.traffic.collectives == collectives);
      }
}

TEST_CASE("offloaded state, and values shared in part, compute the same bits", "[parallel][sharing]") {
  for (const DType working : {DType::f32, DType::bf16}) {
    Wish wish;
    wish.working = working;
    const Measured expected = measure(2, wish);
    for (const Sharing sharing : kSharings)
      for (const Offload offload : {Offload::nothing, Offload::optimizer, Offload::all})
        for (const double shared : {1.0, 0.4, 0.0}) {
          if (sharing != Sharing::values && shared < 1.0) continue;
          INFO(name_of(working) << ", " << kNames[static_cast<int>(sharing)] << ", offload "
                                << static_cast<int>(offload) << ", shared " << shared);
          wish.sharing = sharing;
          wish.offload = offload;
          wish.shared_values = shared;
          CHECK(same_bits(measure(2, wish).state, expected.state));
        }
  }
}

TEST_CASE("a model too large for its budget trains where its state is shared and offloaded",
          "[parallel][sharing]") {
  const auto place = [](const PlacementWish& wish) {
    Matrices network;
    const Residency residency = place_parameters(network.store(), DType::f32, 0, 2, wish);
    CHECK(state_bytes(network.store(), wish.moments).on_device() <= *wish.budget);
    return residency;
  };
  PlacementWish wish;
  wish.moments = 2;
  wish.budget = 3 << 20;
  wish.chunk_bytes = Matrices::kWidth * Matrices::kWidth * 4;
  CHECK_THROWS_WITH(place(wish),
                    "weights, gradients and the optimizer's state take 8.48 MB on each of 2 ranks, more than "
                    "--memory-budget 3.15 MB: share more of them (--parallel zero1, zero2, gemini), on more "
                    "ranks, or --offload them");
  wish.sharing = Sharing::values;
  CHECK_THROWS(place(wish));
  wish.offload = Offload::all;
  wish.shared_values.reset();
  const Residency residency = place(wish);
  CHECK(residency.shared_values > 0.0);
  CHECK(residency.shared_values <= 1.0);
  // As much stays as the budget allows: one chunk less that is shared does not fit.
  PlacementWish more = wish;
  more.shared_values = residency.shared_values - 0.1;
  CHECK_THROWS(place(more));
  wish.budget = 100 << 20;
  CHECK(place(wish).shared_values == 0.0);
}

namespace {

/// One parameter or two, whose gradients a test writes by hand.
struct HandRun {
  Context context{Device{}};
  ParameterStore store;
  Parameter* large;
  Parameter* small;
  std::unique_ptr<DataParallel> parallel;
  std::unique_ptr<Optimizer> optimizer;

  HandRun(Communicator& communicator, Sharing sharing) {
    large = &store.add("large", {1000}, ParameterGroup::weight, Initialisation::uniform(1.0));
    small = &store.add("small", {70}, ParameterGroup::norm, Initialisation::constant(1.0));
    store.materialise(context, 1, DType::f16, {communicator.rank(), communicator.size(), sharing});
    OptimizerConfig config;
    config.guard.loss_scale = 1024.0;
    config.guard.params.dynamic = true;
    parallel = std::make_unique<DataParallel>(context, store, communicator);
    optimizer = std::make_unique<Optimizer>(context, store, config);
    if (store.shares()) optimizer->guard().judge_together(communicator);
    std::array<GroupRates, kParameterGroups> rates;
    rates.fill({0.5, 0.0});
    optimizer->set_rates(rates);
  }
  /// Every gradient is `value`, but that of element `at` of `large` is `odd`.
  void step(float value, std::size_t at, float odd) {
    parallel->begin_step();
    std::vector<f16> gradient(1000, from_compute<f16>(value));
    gradient[at] = from_compute<f16>(odd);
    const std::vector<float> of_small(70, value);
    parallel->gradient(*large).copy_from(context, std::as_bytes(std::span(gradient)));
    parallel->gradient(*small).copy_from(context, std::as_bytes(std::span(of_small)));
    parallel->finished(*large);
    parallel->finished(*small);
    parallel->join_gradients();
    optimizer->step();
    parallel->share_values();
  }
  std::vector<float> values() { return parallel->gather<float>(store.flat_values()); }
};

}  // namespace

TEST_CASE("an overflow on one rank, or only in the sum, skips the step on all", "[parallel][sharing]") {
  for (const Sharing sharing : kSharings)
    for (const std::size_t at : {std::size_t{0}, std::size_t{999}}) {
      INFO(kNames[static_cast<int>(sharing)] << ", element " << at);
      std::mutex mutex;
      run_replicas(3, [&](Communicator& communicator) {
        HandRun run(communicator, sharing);
        const std::vector<float> before = run.values();
        // Of rank 1 alone; then of the sum, as 3 x 30000 is more than fp16 holds.
        run.step(1.0f, at, communicator.rank() == 1 ? INFINITY : 1.0f);
        const StepReport first = run.optimizer->guard().take_report();
        run.step(1.0f, at, 30000.0f);
        const StepReport second = run.optimizer->guard().take_report();
        const std::vector<float> skipped = run.values();
        run.step(2.0f, at, 2.0f);
        const StepReport third = run.optimizer->guard().take_report();
        const std::vector<float> after = run.values();
        const std::lock_guard lock(mutex);
        CHECK(first.skipped == 1);
        CHECK(first.loss_scale == 512.0);
        CHECK(first.first_bad_parameter == "large");
        CHECK(second.skipped == 2);
        CHECK(skipped == before);
        CHECK(third.skipped == 2);
        CHECK(third.loss_scale == 256.0);
        // Three gradients of 2 at the scale of 256, 1070 of them.
        CHECK(std::abs(third.gradient_norm - std::sqrt(1070.0) * 6.0 / 256.0) < 1e-12);
        for (const std::size_t i : {std::size_t{0}, std::size_t{999}})
          CHECK(after[i] == before[i] - 0.5f * (6.0f / 256.0f));
      });
    }
}

TEST_CASE("a training goes on at another number of ranks, with other things shared", "[parallel][sharing]") {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / "zeroth_sharing_test.safetensors";
  ReplicaSetup setup;
  setup.config.optimizer.kind = OptimizerKind::adamw;
  setup.config.rates.fill({1e-3, 1e-2});
  setup.model = "rezero-resnet8";
  const auto run = [&](int ranks, Sharing sharing, int from, int to) {
    ReplicaSetup mine = setup;
    mine.sharing = sharing;
    mine.config.batch_size = 16 / ranks;
    State state;
    run_replicas(ranks, [&](Communicator& communicator) {
      ReplicaTraining training(mine, &communicator);
      if (from > 0) load_training(*training.trainer, SafetensorsFile(path), from);
      training.steps(to - from);
      save_training(*training.trainer, path, {});
      const State own = training.trainer->gather_state();
      if (communicator.rank() == 0) state = own;
    });
    return state;
  };
  // The same ranks: the same bits as without the interruption, whatever is shared before and after.
  const State whole = run(2, Sharing::nothing, 0, 6);
  for (const Sharing before : kSharings) {
    run(2, before, 0, 3);
    CHECK(same_bits(run(2, kSharings[3 - static_cast<int>(before)], 3, 6), whole, false));
  }
  // Others: what was saved is there, to the bit, and training goes on.
  const State three = run(4, Sharing::values, 0, 3);
  CHECK(same_bits(run(1, Sharing::nothing, 3, 3), three));
  CHECK(same_bits(run(2, Sharing::gradients, 3, 3), three));
  CHECK_FALSE(same_bits(run(2, Sharing::gradients, 3, 6), three));
  std::filesystem::remove(path);
}

TEST_CASE("planned steps of ranks give the bits of eager ones", "[parallel][sharing]") {
  for (const Sharing sharing : kSharings) {
    INFO(kNames[static_cast<int>(sharing)]);
    State states[2];
    for (const StepMode mode : {StepMode::eager, StepMode::planned}) {
      ReplicaSetup setup;
      setup.sharing = sharing;
      setup.config.batch_size = 4;
      setup.config.step_mode = mode;
      run_replicas(2, [&](Communicator& communicator) {
        ReplicaTraining training(setup, &communicator);
        training.steps(4);
        training.trainer->evaluate(random_pictures(training.context, 20, 8));
        training.steps(4);
        if (training.trainer->step_mode() != mode) fail(ErrorKind::runtime, training.trainer->step_notice());
        const State own = training.trainer->gather_state();
        if (communicator.rank() == 0) states[mode == StepMode::planned] = own;
      });
    }
    CHECK(same_bits(states[0], states[1]));
  }
}

TEST_CASE("steps of ranks are captured where their collectives can be", "[parallel][sharing]") {
  for (const Sharing sharing : kSharings)
    for (const Offload offload : {Offload::nothing, Offload::optimizer, Offload::all}) {
      INFO(kNames[static_cast<int>(sharing)] << ", offload " << static_cast<int>(offload));
      const bool copies = sharing == Sharing::values && offload == Offload::all;
      State states[2];
      for (const StepMode mode : {StepMode::eager, StepMode::captured}) {
        ReplicaSetup setup;
        setup.device = DeviceKind::simt;
        setup.sharing = sharing;
        setup.offload = offload;
        setup.config.batch_size = 2;
        setup.config.step_mode = mode;
        ReplicaTraining training(setup, nullptr);
        training.context.set_forks(mode == StepMode::captured);
        training.steps(4);
        training.trainer->evaluate(random_pictures(training.context, 3, 8));
        training.steps(1);
        if (mode == StepMode::captured) {
          CHECK(training.trainer->step_mode() == (copies ? StepMode::planned : StepMode::captured));
          CHECK(training.trainer->step_notice() ==
                (copies
                     ? "steps are planned, not captured: --offload all copies from the host while a step runs"
                     : ""));
        }
        states[mode == StepMode::captured] = training.trainer->gather_state();
      }
      CHECK(same_bits(states[0], states[1]));
    }
  ReplicaSetup setup;
  setup.device = DeviceKind::simt;
  setup.config.step_mode = StepMode::captured;
  setup.config.batch_size = 2;
  run_replicas(1, [&](Communicator& communicator) {
    ReplicaTraining training(setup, &communicator);
    training.steps(3);
    CHECK(training.trainer->step_notice() ==
          "steps are planned, not captured: replicas in one process meet on the host");
  });
}

TEST_CASE("the table of memory on each rank", "[.memory-table]") {
  const auto row = [](const char* model, DType working, int ranks, Sharing sharing, Offload offload) {
    ResNet network(resnet_config(model));
    PlacementWish wish;
    wish.sharing = sharing;
    wish.offload = offload;
    wish.moments = 2;
    place_parameters(network.store(), working, 0, ranks, wish);
    const StateBytes bytes = state_bytes(network.store(), 2);
    const auto mb = [](std::int64_t n) { return static_cast<double>(n) / 1e6; };
    std::printf("| %s, %d | %s | %s | %.1f | %.1f | %.1f | %.1f |\n", name_of(working), ranks,
                kNames[static_cast<int>(sharing)],
                offload == Offload::nothing     ? "none"
                : offload == Offload::optimizer ? "optimizer"
                                                : "all",
                mb(bytes.values), mb(bytes.gradients), mb(bytes.optimizer), mb(bytes.on_host));
  };
  for (const DType working : {DType::f32, DType::f16})
    for (const int ranks : {1, 2, 4, 8})
      for (const Sharing sharing : kSharings) {
        if (ranks == 1 && sharing != Sharing::nothing) continue;
        row("resnet18", working, ranks, sharing, Offload::nothing);
        if (sharing == Sharing::values && ranks == 4) {
          row("resnet18", working, ranks, sharing, Offload::optimizer);
          row("resnet18", working, ranks, sharing, Offload::all);
        }
      }
}
