#include "engine/optimizer.h"

#include "kernels/adamw/adamw.h"
#include "kernels/muon/muon.h"
#include "kernels/sgd/sgd.h"

namespace zeroth {

namespace {
constexpr int kRateRows = kParameterGroups + 1;  // the last one for what is frozen: zeros
}

Optimizer::Optimizer(Context& context, ParameterStore& store, const OptimizerConfig& config)
    : context_(context),
      store_(store),
      config_(config),
      guard_(context, store, config.guard),
      inputs_(context) {
  const Shape shape = store.flat_values().shape();
  const DType dtype = store.flat_values().dtype();
  if (config.kind == OptimizerKind::adam || config.kind == OptimizerKind::adamw) {
    moments_ = {{"m", Tensor::zeros(context, shape, dtype)}, {"v", Tensor::zeros(context, shape, dtype)}};
  } else if (config.momentum != 0.0 || config.kind == OptimizerKind::muon) {
    moments_ = {{"momentum", Tensor::zeros(context, shape, dtype)}};
  }
  rates_ = inputs_.add({kRateRows, 2}, dtype);
}

void Optimizer::set_rates(const std::array<GroupRates, kParameterGroups>& rates) {
  dispatch_reference(rates_.dtype, [&]<class T>(TypeTag<T>) {
    std::array<T, 2 * kRateRows> values{};
    for (std::size_t group = 0; group < rates.size(); ++group) {
      values[2 * group] = static_cast<T>(rates[group].learning_rate);
      values[2 * group + 1] = static_cast<T>(rates[group].weight_decay);
    }
    inputs_.set(rates_, std::as_bytes(std::span(values)));
  });
}

void Optimizer::begin_step() {
  ++steps_taken_;
  inputs_.upload();
}

void Optimizer::queue_update() {
  const Tensor& values = store_.flat_values();
  const FlatParams flat{values.elements(), kRateRows, values.dtype(), store_.working_dtype()};
  FlatParameters parameters{values, store_.flat_gradients(), store_.group_of_segment(), rates_};
  if (store_.mixed()) {
    parameters.working_weights = store_.flat_working_values();
    parameters.working_gradients = store_.flat_working_gradients();
  }
  guard_.judge(flat, parameters);
  parameters.gradient_factor = guard_.factor();
  if (config_.kind == OptimizerKind::sgd) return sgd(flat, parameters);
  if (config_.kind == OptimizerKind::muon) return muon(flat, parameters);
  const AdamwParams params{flat, config_.beta1, config_.beta2, config_.eps,
                           config_.kind == OptimizerKind::adamw};
  adamw_step(context_, params, parameters, moments_[0].value, moments_[1].value, guard_.updates());
}

void Optimizer::sgd(const FlatParams& flat, const FlatParameters& parameters) {
  SgdParams params{flat, config_.momentum, config_.nesterov};
  if (config_.kind == OptimizerKind::muon) params.left_out = static_cast<int>(ParameterGroup::hidden);
  sgd_step(context_, params, parameters, moments_.empty() ? TensorView() : TensorView(moments_[0].value));
}

/// The two share the momentum buffer, each its own segments.
void Optimizer::muon(const FlatParams& flat, const FlatParameters& parameters) {
  sgd(flat, parameters);
  MuonParams params{flat, config_.muon_momentum, config_.muon_iterations, config_.muon_normalise, {}};
  for (const Parameter& parameter : store_.parameters())
    if (parameter.group == ParameterGroup::hidden && !parameter.frozen) {
      const std::int64_t rows = parameter.shape[0];
      params.matrices.push_back({parameter.offset, rows, parameter.shape.elements() / rows});
    }
  const std::size_t bytes = muon_workspace(context_, params);
  muon_step(context_, params, parameters, moments_[0].value, context_.scratch(bytes));
}

void Optimizer::resume_at(std::int64_t steps) {
  steps_taken_ = steps;
  guard_.resume_at(steps);
}

}  // namespace zeroth
