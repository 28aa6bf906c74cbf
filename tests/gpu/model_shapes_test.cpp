#include <set>

#include "kernels/check/cases.h"
#include "models/problems.h"
#include "tests/gpu/skip.h"
#include "tests/kernels/harness.h"

using namespace zeroth;
using namespace zeroth::testing;

namespace {

/// Small, because the reference computes every case in f64 on the host; odd, so that tails are met.
constexpr std::int64_t kBatch = 3;

constexpr const char* kModels[] = {"resnet20", "rezero-resnet110", "resnet18", "rezero-resnet18-cifar"};

/// Every different problem of every model, shortcuts A and B: deeper networks only repeat those of ResNet-20.
std::vector<Problem> every_problem() {
  std::vector<Problem> problems;
  std::set<std::string> seen;
  for (const char* model : kModels)
    for (const ShortcutKind shortcut : {ShortcutKind::a, ShortcutKind::b}) {
      ResNetConfig config = resnet_config(model);
      config.shortcut = shortcut;
      for (const ProblemCount& counted : problems_of(config, kBatch))
        if (seen.insert(to_string(counted.problem)).second) problems.push_back(counted.problem);
    }
  return problems;
}

template <class Params>
void check_problems() {
  require_cuda();
  constexpr DeviceKind devices[] = {DeviceKind::cuda};
  int cases = 0;
  for (const Problem& problem : every_problem())
    if (const auto* params = std::get_if<Params>(&problem))
      for (const KernelCase& call : cases_of(*params)) {
        check_case(call, devices);
        ++cases;
      }
  CHECK(cases > 0);
}

}  // namespace

TEST_CASE("conv2d agrees with the reference at every shape of every model", "[gpu]") {
  check_problems<Conv2dParams>();
}
TEST_CASE("batch_norm agrees with the reference at every shape of every model", "[gpu]") {
  check_problems<BatchNormParams>();
}
TEST_CASE("batch_norm_act agrees with the reference at every shape of every model", "[gpu]") {
  check_problems<BatchNormActParams>();
}
TEST_CASE("shortcut_a agrees with the reference at every shape of every model", "[gpu]") {
  check_problems<ShortcutAParams>();
}
TEST_CASE("max_pool agrees with the reference at every shape of every model", "[gpu]") {
  check_problems<MaxPoolParams>();
}
TEST_CASE("avg_pool agrees with the reference at every shape of every model", "[gpu]") {
  check_problems<AvgPoolParams>();
}
TEST_CASE("linear agrees with the reference at every shape of every model", "[gpu]") {
  check_problems<LinearParams>();
}
TEST_CASE("softmax_cross_entropy agrees with the reference at every shape of every model", "[gpu]") {
  check_problems<SoftmaxCrossEntropyParams>();
}
