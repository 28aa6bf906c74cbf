#include "kernels/check/call.h"

#include <algorithm>

namespace zeroth::check {

namespace {

bool read_before(Role role) {
  return role == Role::input || role == Role::inout;
}

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

void add_mismatches(const KernelCase& call, DType storage, const Row& row, const Call& done,
                    const Expectation& expectation, std::vector<std::string>& faults) {
  const Values& expected = expectation.after;
  const bool other_sum = call.other_sum && std::string(row.name) == call.other_sum->row;
  const Values other_magnitude = other_sum ? call.other_sum->magnitude(expectation.before) : Values();
  const Values& magnitude = other_sum ? other_magnitude : expectation.magnitude;

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
    const auto add = [&](const std::string& mismatch) {
      if (!mismatch.empty()) faults.push_back(std::string("operand ") + spec.name + ": " + mismatch);
    };
    if (roundings <= 0.0) {
      std::vector<double> exact = expected[i];
      for (double& value : exact) value = rounded(dtype, value);
      add(mismatch_of(done.operand(i).values(), exact, [](std::size_t) { return 0.0; }));
      continue;
    }
    add(mismatch_of(done.operand(i).values(), expected[i], [&](std::size_t j) {
      if (!std::isfinite(expected[i][j])) return 0.0;
      const double error = roundings * compute_roundoff * std::fabs(magnitude[i][j]);
      return error + rounding(dtype, std::fabs(expected[i][j]) + error);
    }));
  }
}

void add_changed_inputs(const KernelCase& call, DType storage, const Call& done, const Values& before,
                        std::vector<std::string>& faults) {
  for (std::size_t i = 0; i < call.operands.size(); ++i) {
    const OperandSpec& spec = call.operands[i];
    const auto add = [&](const char* what) { faults.push_back(std::string("operand ") + spec.name + what); };
    if (spec.role == Role::untouched) {
      const std::vector<std::byte> bytes = done.operand(i).bytes();
      if (!std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0xFF}; }))
        add(" was written");
    } else if (spec.role == Role::input && spec.aliases < 0 && !done.overwritten(i)) {
      std::vector<std::byte> bytes;
      dispatch_any(spec.dtype(storage), [&]<class T>(TypeTag<T>) {
        for (const double value : before[i]) {
          const T element = element_from<T>(value);
          const auto* start = reinterpret_cast<const std::byte*>(&element);
          bytes.insert(bytes.end(), start, start + sizeof(T));
        }
      });
      if (done.operand(i).bytes() != bytes) add(", an input, was changed");
    }
  }
}

}  // namespace

Call::Call(const KernelCase& call, Context& context, DType storage, const Values& before) : call_(call) {
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

const Operand& Call::operand(std::size_t i) const {
  const int aliased = call_.operands[i].aliases;
  return *operands_[aliased < 0 ? i : static_cast<std::size_t>(aliased)];
}

bool Call::intact() const {
  for (const auto& operand : operands_)
    if (operand && !operand->intact()) return false;
  const std::vector<std::byte> workspace = workspace_->bytes();
  return workspace_->intact() && std::all_of(workspace.begin(), workspace.begin() + kWorkspacePadding,
                                             [](std::byte byte) { return byte == std::byte{0xFF}; });
}

bool Call::overwritten(std::size_t i) const {
  return std::any_of(call_.operands.begin(), call_.operands.end(),
                     [&](const OperandSpec& spec) { return spec.aliases == static_cast<int>(i); });
}

std::vector<std::byte> Call::written_bytes() const {
  std::vector<std::byte> all;
  for (std::size_t i = 0; i < operands_.size(); ++i)
    if (call_.operands[i].written()) {
      const std::vector<std::byte> bytes = operand(i).bytes();
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
  return all;
}

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

Expectation expect(const KernelCase& call, DType storage) {
  Expectation result{draw_operands(call, storage), {}, {}};
  result.after = evaluate(call, result.before);
  result.magnitude = magnitudes(call, result.before, result.after);
  return result;
}

std::vector<std::string> faults_of(const KernelCase& call, DType storage, const Row& row, const Call& done,
                                   const Expectation& expected) {
  std::vector<std::string> faults;
  add_mismatches(call, storage, row, done, expected, faults);
  add_changed_inputs(call, storage, done, expected.before, faults);
  if (!done.intact()) faults.emplace_back("something was written beside an operand or the workspace");
  return faults;
}

}  // namespace zeroth::check
