#include "tests/kernels/harness.h"

#include <omp.h>

#include <memory>

namespace zeroth::testing {

namespace {

bool read_before(Role role) {
  return role == Role::input || role == Role::inout;
}

/// The operands of one call in one context's memory.
class Call {
 public:
  Call(const KernelCase& call, Context& context, DType storage, const Values& before) : call_(call) {
    for (std::size_t i = 0; i < call.operands.size(); ++i) {
      const OperandSpec& spec = call.operands[i];
      const DType dtype = spec.dtype(storage);
      if (read_before(spec.role))
        operands_.push_back(std::make_unique<Operand>(context, dtype, spec.shape, before[i]));
      else if (spec.aliases < 0)
        operands_.emplace_back(new Operand(Operand::unset(context, dtype, spec.shape)));
      else
        operands_.push_back(nullptr);
    }
    const std::size_t bytes = call.workspace ? call.workspace(context, storage) : 0;
    workspace_.reset(new Operand(
        Operand::unset(context, DType::u8, {static_cast<std::int64_t>(kWorkspacePadding + bytes)})));
    std::vector<TensorView> views;
    for (std::size_t i = 0; i < operands_.size(); ++i) views.push_back(operand(i));
    auto* workspace = static_cast<std::byte*>(workspace_->view().data) + kWorkspacePadding;
    call.run(context, storage, views, {workspace, bytes});
    context.synchronize();
  }

  const Operand& operand(std::size_t i) const {
    const int aliased = call_.operands[i].aliases;
    return *operands_[aliased < 0 ? i : static_cast<std::size_t>(aliased)];
  }
  bool intact() const {
    for (const auto& operand : operands_)
      if (operand && !operand->intact()) return false;
    const std::vector<std::byte> workspace = workspace_->bytes();
    return workspace_->intact() && std::all_of(workspace.begin(), workspace.begin() + kWorkspacePadding,
                                               [](std::byte byte) { return byte == std::byte{0xFF}; });
  }
  /// Whether another operand is written over this one.
  bool overwritten(std::size_t i) const {
    return std::any_of(call_.operands.begin(), call_.operands.end(),
                       [&](const OperandSpec& spec) { return spec.aliases == static_cast<int>(i); });
  }
  std::vector<std::byte> written_bytes() const {
    std::vector<std::byte> all;
    for (std::size_t i = 0; i < operands_.size(); ++i)
      if (call_.operands[i].written()) {
        const std::vector<std::byte> bytes = operand(i).bytes();
        all.insert(all.end(), bytes.begin(), bytes.end());
      }
    return all;
  }

 private:
  /// An operand starts 16 bytes past a multiple of 256, a workspace on one.
  static constexpr int kWorkspacePadding = 240;

  const KernelCase& call_;
  std::vector<std::unique_ptr<Operand>> operands_;
  std::unique_ptr<Operand> workspace_;
};

Values magnitudes(const KernelCase& call, const Values& before, const Values& after) {
  const auto uses = [&](Magnitude kind) {
    return std::any_of(call.operands.begin(), call.operands.end(), [=](const OperandSpec& spec) {
      return spec.written() && spec.accuracy.roundings > 0.0 && spec.accuracy.magnitude == kind;
    });
  };
  Values absolute, custom;
  if (uses(Magnitude::absolute)) {
    absolute = before;
    for (std::vector<double>& operand : absolute)
      for (double& value : operand) value = std::fabs(value);
    absolute = evaluate(call, absolute);
  }
  if (uses(Magnitude::custom)) custom = call.magnitude(before, after);
  Values result(call.operands.size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    const Magnitude kind = call.operands[i].accuracy.magnitude;
    const Values& from = kind == Magnitude::absolute && !absolute.empty() ? absolute
                         : kind == Magnitude::custom && !custom.empty()   ? custom
                                                                          : after;
    result[i] = from[i];
  }
  return result;
}

void check_parity(const KernelCase& call, DType storage, const Row& row, const Call& done,
                  const Values& expected, const Values& magnitude, bool other_sum) {
  const double compute_roundoff = unit_roundoff(statistics_dtype(storage));
  for (std::size_t i = 0; i < call.operands.size(); ++i) {
    const OperandSpec& spec = call.operands[i];
    if (!spec.written()) continue;
    const Accuracy& accuracy = spec.accuracy;
    const bool reference = std::string(row.name) == "reference" && accuracy.reference_roundings > 0.0;
    const double roundings = other_sum   ? call.other_sum->roundings
                             : reference ? accuracy.reference_roundings
                                         : accuracy.roundings;
    const DType dtype = spec.dtype(storage);
    INFO("operand " << spec.name);
    if (roundings <= 0.0) {
      std::vector<double> exact = expected[i];
      for (double& value : exact) value = rounded(dtype, value);
      check_close(done.operand(i).values(), exact, [](std::size_t) { return 0.0; });
      continue;
    }
    check_close(done.operand(i).values(), expected[i], [&](std::size_t j) {
      if (!std::isfinite(expected[i][j])) return 0.0;
      const double error = roundings * compute_roundoff * std::fabs(magnitude[i][j]);
      return error + rounding(dtype, std::fabs(expected[i][j]) + error);
    });
  }
}

void check_untouched(const KernelCase& call, DType storage, const Call& done, const Values& before) {
  for (std::size_t i = 0; i < call.operands.size(); ++i) {
    const OperandSpec& spec = call.operands[i];
    INFO("operand " << spec.name);
    if (spec.role == Role::untouched) {
      const std::vector<std::byte> bytes = done.operand(i).bytes();
      CHECK(std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0xFF}; }));
    } else if (spec.role == Role::input && spec.aliases < 0 && !done.overwritten(i)) {
      std::vector<std::byte> bytes;
      dispatch_any(spec.dtype(storage), [&]<class T>(TypeTag<T>) {
        for (const double value : before[i]) {
          const T element = element_from<T>(value);
          const auto* start = reinterpret_cast<const std::byte*>(&element);
          bytes.insert(bytes.end(), start, start + sizeof(T));
        }
      });
      CHECK((done.operand(i).bytes() == bytes));
    }
  }
}

void check_same_bits(const KernelCase& call, Context& context, DType storage, const Row& row,
                     const Values& before, const std::vector<std::byte>& first) {
  if (kThreadSanitizer) return;  // it sees a race in any order
  const bool onednn = std::string(row.name) == "onednn" || std::string(row.name) == "widened";
  const auto again = [&] { return Call(call, context, storage, before).written_bytes(); };
  if (row.device == DeviceKind::simt) {
    simt::run_in_every_order([&](const simt::OrderSetting& setting) {
      INFO("thread order " << static_cast<int>(setting.order) << ", seed " << setting.seed);
      CHECK((again() == first));
    });
  } else if (row.device == DeviceKind::cuda || onednn) {
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

Values draw_operands(const KernelCase& call, DType storage) {
  Values values(call.operands.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const OperandSpec& spec = call.operands[i];
    if (!read_before(spec.role)) continue;
    values[i] = random_values(spec.shape.elements(), DType::f64, spec.low, spec.high, call.seed * 64 + i);
    std::copy_n(spec.special.begin(), std::min(spec.special.size(), values[i].size()), values[i].begin());
  }
  const auto round = [&] {
    for (std::size_t i = 0; i < values.size(); ++i)
      for (double& value : values[i]) value = rounded(call.operands[i].dtype(storage), value);
  };
  round();
  if (call.prepare) {
    call.prepare(values);
    round();
  }
  return values;
}

Values evaluate(const KernelCase& call, const Values& before) {
  Context context({DeviceKind::cpu, 0});
  context.choose_implementation(call.operation + "=reference");
  // Without aliases: each operand is wanted as it is after the call.
  KernelCase apart = call;
  for (OperandSpec& spec : apart.operands) spec.aliases = -1;
  const Call done(apart, context, DType::f64, before);
  Values after;
  for (std::size_t i = 0; i < call.operands.size(); ++i) after.push_back(done.operand(i).values());
  return after;
}

void check_case(const KernelCase& call, std::span<const DeviceKind> devices) {
  for (const DType storage : {DType::f32, DType::bf16, DType::f16}) {
    std::vector<Row> rows = call.rows(storage);
    std::erase_if(rows, [&](const Row& row) {
      return std::find(devices.begin(), devices.end(), row.device) == devices.end() ||
             !has_device(row.device);
    });
    if (rows.empty()) continue;
    const Values before = draw_operands(call, storage);
    const Values expected = evaluate(call, before);
    const Values magnitude = magnitudes(call, before, expected);
    for (const Row& row : rows) {
      INFO(call.operation << ": " << call.name << ", " << name_of(storage) << ", row " << row.name << " on "
                          << name_of(row.device));
      Context context({row.device, 0});
      context.choose_implementation(call.operation + "=" + row.name);
      const Call done(call, context, storage, before);
      CHECK(done.intact());
      const bool other_sum = call.other_sum && std::string(row.name) == call.other_sum->row;
      check_parity(call, storage, row, done, expected,
                   other_sum ? call.other_sum->magnitude(before) : magnitude, other_sum);
      check_untouched(call, storage, done, before);
      if (row.deterministic) check_same_bits(call, context, storage, row, before, done.written_bytes());
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
