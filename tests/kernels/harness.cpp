#include "tests/kernels/harness.h"

#include <omp.h>

#include <memory>

namespace zeroth::testing {

namespace {

void check_same_bits(const KernelCase& call, Context& context, DType storage, const Row& row,
                     const Values& before, const std::vector<std::byte>& first) {
  if (kThreadSanitizer) return;  // it sees a race in any order
  const auto again = [&] { return Call(call, context, storage, before).written_bytes(); };
  if (row.device == DeviceKind::simt) {
    simt::run_in_every_order([&](const simt::OrderSetting& setting) {
      INFO("thread order " << static_cast<int>(setting.order) << ", seed " << setting.seed);
      CHECK((again() == first));
    });
  } else if (row.device == DeviceKind::cuda) {
    CHECK((again() == first));
  } else {
    const int threads = omp_get_max_threads();
    for (const int count : {1, 2, 3, 5}) {
      INFO(count << " threads");
      omp_set_num_threads(count);
      CHECK((again() == first));
    }
    omp_set_num_threads(threads);
  }
}

}  // namespace

void check_case(const KernelCase& call, std::span<const DeviceKind> devices) {
  for (const DType storage : {DType::f32, DType::bf16, DType::f16}) {
    std::vector<Row> rows = call.rows(storage);
    std::erase_if(rows, [&](const Row& row) {
      return std::find(devices.begin(), devices.end(), row.device) == devices.end() ||
             !has_device(row.device);
    });
    if (rows.empty()) continue;
    const Expectation expected = expect(call, storage);
    for (const Row& row : rows) {
      INFO(call.operation << ": " << call.name << ", " << name_of(storage) << ", row " << row.name << " on "
                          << name_of(row.device));
      Context context({row.device, 0});
      context.choose_implementation(call.operation + "=" + row.name);
      const Call done(call, context, storage, expected.before);
      const std::vector<std::string> faults = faults_of(call, storage, row, done, expected);
      for (const std::string& fault : faults) UNSCOPED_INFO(fault);
      CHECK(faults.empty());
      if (row.deterministic)
        check_same_bits(call, context, storage, row, expected.before, done.written_bytes());
    }
  }
}

void check_cases(const std::vector<KernelCase>& calls) {
  for (const KernelCase& call : calls) check_case(call);
}

namespace {

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// The sum of what dot() adds, without signs: what its rounding errors are relative to.
double absolute_dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::fabs(a[i] * b[i]);
  return sum;
}

/// Directions to differentiate along: random ones, then up to sixteen single elements.
std::vector<std::vector<double>> directions(std::size_t elements, std::uint64_t seed) {
  std::vector<std::vector<double>> result;
  for (std::uint64_t i = 0; i < 4; ++i)
    result.push_back(random_values(static_cast<std::int64_t>(elements), DType::f64, -1.0, 1.0, seed + i));
  const std::size_t step = std::max<std::size_t>(1, elements / 16);
  for (std::size_t i = 0; i < elements; i += step) {
    result.emplace_back(elements, 0.0);
    result.back()[i] = 1.0;
  }
  return result;
}

}  // namespace

void check_gradient(const Differentiable& function, std::uint64_t seed) {
  const std::vector<double> y = function.forward(function.inputs);
  const std::vector<double> dy =
      random_values(static_cast<std::int64_t>(y.size()), DType::f64, -1.0, 1.0, seed * 1000);
  const Values gradients = function.backward(function.inputs, dy);
  REQUIRE(gradients.size() == function.inputs.size());
  // Rounding errors of a sum of dot products: a generous count of operations at each element.
  const double noise = 64.0 * 0x1p-53 * (absolute_dot(y, dy) + 1e-300);
  for (std::size_t input = 0; input < gradients.size(); ++input) {
    if (gradients[input].empty()) continue;
    for (const auto& direction : directions(gradients[input].size(), seed * 1000 + 10 * (input + 1))) {
      const auto difference = [&](double step) {
        Values moved = function.inputs;
        for (std::size_t i = 0; i < direction.size(); ++i) moved[input][i] += step * direction[i];
        const double above = dot(function.forward(moved), dy);
        moved = function.inputs;
        for (std::size_t i = 0; i < direction.size(); ++i) moved[input][i] -= step * direction[i];
        return (above - dot(function.forward(moved), dy)) / (2.0 * step);
      };
      constexpr double kStep = 1e-4;
      const double coarse = difference(kStep), fine = difference(kStep / 2);
      const double analytic = dot(gradients[input], direction);
      const double scale = absolute_dot(gradients[input], direction) + absolute_dot(y, dy);
      // Both errors shrink with the square of the step, so that the finer one is off by a third of the
      // distance.
      const double bound = std::fabs(coarse - fine) + noise / kStep;
      INFO("input " << input << ": analytic " << analytic << ", differences " << coarse << " and " << fine);
      CHECK(bound <= 1e-6 * scale);
      CHECK(std::fabs(analytic - fine) <= bound);
    }
  }
}

void check_adjoint(std::int64_t x_elements, std::int64_t y_elements,
                   const std::function<std::vector<double>(const std::vector<double>& x)>& forward,
                   const std::function<std::vector<double>(const std::vector<double>& y)>& backward,
                   double roundings) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const std::vector<double> x = random_values(x_elements, DType::f64, -1.0, 1.0, 2 * seed);
    const std::vector<double> y = random_values(y_elements, DType::f64, -1.0, 1.0, 2 * seed + 1);
    const std::vector<double> forwards = forward(x), backwards = backward(y);
    const double terms = static_cast<double>(x_elements + y_elements) + roundings;
    const double bound = terms * 0x1p-53 * (absolute_dot(forwards, y) + absolute_dot(x, backwards));
    CHECK(std::fabs(dot(forwards, y) - dot(x, backwards)) <= bound);
  }
}

}  // namespace zeroth::testing
