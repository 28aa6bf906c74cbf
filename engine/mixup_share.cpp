#include "engine/mixup_share.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/core/philox.h"

namespace zeroth {

namespace {

/// Uniform numbers in (0, 1] for one step: the words of one Philox draw after the other.
class Uniforms {
 public:
  Uniforms(std::uint64_t seed, std::int64_t step) : seed_(seed), step_(static_cast<std::uint64_t>(step)) {}

  double next() {
    if (used_ == 4) {
      draw_ = philox(seed_, static_cast<std::uint32_t>(step_), static_cast<std::uint32_t>(step_ >> 32),
                     draws_++, static_cast<std::uint32_t>(RandomUse::mixup));
      used_ = 0;
    }
    return (static_cast<double>(draw_.word[used_++]) + 1.0) * 0x1p-32;
  }

 private:
  std::uint64_t seed_, step_;
  std::uint32_t draws_ = 0;
  int used_ = 4;
  PhiloxWords draw_{};
};

/// The logarithm of a number from Gamma(shape, 1) (Marsaglia and Tsang, "A simple method for generating gamma
/// variables", 2000); a small shape gives numbers below what a double holds.
double log_gamma_variable(double shape, Uniforms& uniforms) {
  if (shape < 1.0) {
    const double larger = log_gamma_variable(shape + 1.0, uniforms);
    return larger + std::log(uniforms.next()) / shape;
  }
  const double d = shape - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
  while (true) {
    const double radius = std::sqrt(-2.0 * std::log(uniforms.next()));
    const double x = radius * std::cos(2.0 * std::numbers::pi * uniforms.next());
    const double v = std::pow(1.0 + c * x, 3.0);
    const double u = uniforms.next();
    if (v > 0.0 && std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) return std::log(d * v);
  }
}

}  // namespace

double mixup_share(double alpha, std::uint64_t seed, std::int64_t step) {
  Uniforms uniforms(seed, step);
  const double one = log_gamma_variable(alpha, uniforms), other = log_gamma_variable(alpha, uniforms);
  return 1.0 / (1.0 + std::exp(-std::fabs(one - other)));
}

}  // namespace zeroth
