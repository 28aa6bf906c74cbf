#include <omp.h>

#include <cmath>

#include "kernels/operations.h"
#include "tests/models/small_training.h"

using namespace zeroth;

namespace {

/// What three steps leave with this many threads, and the loss of the last.
std::pair<SmallTraining::Values, double> trained(const char* model, DType working, int threads) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(threads);
  TrainerConfig config = small_config();
  config.batch_size = 12;  // no multiple of the parts that a batch is cut into
  SmallTraining training(config, 36, working, DeviceKind::cpu, model);
  choose_deterministic_rows(training.context);
  for (int step = 0; step < 3; ++step) training.trainer.step();
  const double loss = training.trainer.take_metrics().loss;
  omp_set_num_threads(before);
  return {training.values(), loss};
}

/// The first tensor that is not the same, bit by bit, or nothing.
std::string first_difference(const SmallTraining::Values& a, const SmallTraining::Values& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].second != b[i].second) return a[i].first;
  return "";
}

}  // namespace

TEST_CASE("with deterministic rows no bit depends on the number of threads", "[training][determinism]") {
  for (const char* model : {"rezero-resnet8", "resnet14", "resnet18"})
    for (const DType working : {DType::f32, DType::bf16, DType::f16}) {
      if (std::string(model) == "resnet18" && working == DType::f16) continue;  // through copies, slowly
      INFO(model << " in " << name_of(working));
      const auto [values, loss] = trained(model, working, 1);
      CHECK(std::isfinite(loss));
      for (const int threads : {2, 3}) {
        INFO(threads << " threads");
        const auto [others, other_loss] = trained(model, working, threads);
        CHECK(first_difference(values, others) == "");
        CHECK(loss == other_loss);
      }
    }
}

TEST_CASE("a row that may give other bits is refused by name", "[determinism]") {
  Context context({DeviceKind::cpu, 0});
  choose_deterministic_rows(context);
  CHECK_NOTHROW(refuse_other_bits(context));
  REQUIRE(context.chosen_implementation("conv2d") != nullptr);
  CHECK(*context.chosen_implementation("conv2d") ==
        Context::RowNames{"winograd", "split", "widened", "reference"});
  context.choose_implementation("conv2d=winograd+onednn");
  try {
    refuse_other_bits(context);
    FAIL("conv2d=onednn was taken");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    CHECK(std::string(error.what()).find("conv2d=onednn") != std::string::npos);
    CHECK(std::string(error.what()).find("--impl conv2d=winograd+split+widened+reference") !=
          std::string::npos);
  }
}
