// CIFAR-10 itself, where $ZEROTH_DATA or the cache holds it; skipped (exit code 77) where neither does.

#include <cmath>
#include <cstdio>

#include "data/lookup.h"
#include "data/order.h"
#include "data/verify.h"
#include "kernels/core/error.h"

namespace {

int failures = 0;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what);
  ++failures;
}

void check_cifar10() {
  const zeroth::Dataset set = zeroth::load_dataset(zeroth::find_dataset("cifar10"));
  expect(set.train.count == 50000 && set.test.count == 10000, "50,000 training and 10,000 test pictures");
  const zeroth::VerifyReport report = zeroth::verify_dataset("cifar10");
  std::fprintf(stderr, "%s\n", report.summary().c_str());
  expect(report.balanced(), "every class as often");
  expect(report.train_per_class.front() == 5000 && report.test_per_class.front() == 1000,
         "5,000 and 1,000 a class");
  const zeroth::Normalisation measured = zeroth::measure_normalisation(set.train);
  for (std::size_t c = 0; c < 3; ++c) {
    // Bounds wide enough for recompressed copies, narrow enough for exchanged planes.
    expect(std::abs(measured.mean[c] - set.normalisation.mean[c]) < 2e-3f, "the published mean");
    expect(std::abs(measured.stddev[c] - set.normalisation.stddev[c]) < 4e-3f,
           "the published standard deviation");
  }
  const zeroth::Split split = zeroth::class_balanced_split(set.train.labels, set.classes(), 5000, 0);
  expect(split.train.size() == 45000 && split.validation.size() == 5000, "a split of 45,000 and 5,000");
}

}  // namespace

int main() {
  try {
    if (!zeroth::find_default_dataset()) {
      std::fprintf(stderr,
                   "skipped: no CIFAR-10 in $ZEROTH_DATA or the cache; run `zeroth data fetch cifar10`\n");
      return 77;
    }
    check_cifar10();
  } catch (const zeroth::Error& error) {
    std::fprintf(stderr, "failed: %s\n", error.what());
    return 1;
  }
  return failures == 0 ? 0 : 1;
}
