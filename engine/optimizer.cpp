#include "engine/optimizer.h"

#include "kernels/adamw/adamw.h"
#include "kernels/sgd/sgd.h"

namespace zeroth {

Optimizer::Optimizer(Context& context, ParameterStore& store, const OptimizerConfig& config)
    : context_(context),
      store_(store),
      config_(config),
      guard_(context, store, config.guard),
      inputs_(context) {
  const Shape shape = store.flat_values().shape();
  const DType dtype = store.flat_values().dtype();
  const bool offloads = store.residency().offload != Offload::nothing;
  const auto zeros = [&] {
    return offloads ? Tensor::pinned(context, shape, dtype) : Tensor::zeros(context, shape, dtype);
  };
  if (config.kind != OptimizerKind::sgd)
    moments_ = {{"m", zeros()}, {"v", zeros()}};
  else if (config.momentum != 0.0)
    moments_ = {{"momentum", zeros()}};
  if (offloads) {
    host_ = std::make_unique<HostSide>();
    const auto beside = [&](const Tensor& on_device) {
      return on_device.defined() ? Tensor::pinned(context, on_device.shape(), on_device.dtype()) : Tensor();
    };
    host_->gradients = beside(store.flat_gradients());
    host_->working_gradients = beside(store.flat_working_gradients());
    host_->group_of_segment = beside(store.group_of_segment());
    const auto groups = store.group_of_segment().to_host<std::uint8_t>(context);
    host_->group_of_segment.copy_from(context, std::as_bytes(std::span(groups)));
    host_->factor = beside(guard_.factor());
    host_->updates = beside(guard_.updates());
  }
  rates_ = inputs_.add({kParameterGroups, 2}, dtype);
}

void Optimizer::set_rates(const std::array<GroupRates, kParameterGroups>& rates) {
  dispatch_reference(rates_.dtype, [&]<class T>(TypeTag<T>) {
    std::array<T, 2 * kParameterGroups> values;
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

FlatParams Optimizer::flat_params() const {
  const Tensor& values = store_.flat_values();
  return {values.elements(), kParameterGroups, values.dtype(), store_.working_dtype()};
}

void Optimizer::queue_update() {
  const Tensor& values = store_.flat_values();
  FlatParameters parameters{values, store_.flat_gradients(), store_.group_of_segment(), rates_};
  if (store_.mixed()) {
    parameters.working_weights = store_.flat_working_values();
    parameters.working_gradients = store_.flat_working_gradients();
  }
  guard_.judge(flat_params(), parameters);
  parameters.gradient_factor = guard_.factor();
  if (host_ == nullptr) update(context_, parameters, guard_.updates());
}

void Optimizer::update(Context& context, FlatParameters parameters, ConstTensorView updates) {
  const FlatParams flat = flat_params();
  if (config_.kind == OptimizerKind::sgd) {
    const SgdParams params{flat, config_.momentum, config_.nesterov};
    sgd_step(context, params, parameters, moments_.empty() ? TensorView() : TensorView(moments_[0].value));
    return;
  }
  const AdamwParams params{flat, config_.beta1, config_.beta2, config_.eps,
                           config_.kind == OptimizerKind::adamw};
  adamw_step(context, params, parameters, moments_[0].value, moments_[1].value, updates);
}

void Optimizer::update_on_host() {
  if (host_ == nullptr) return;
  const auto fetch = [&](const Tensor& from, const Tensor& to) {
    if (!from.defined()) return;
    context_.memory().copy_to_host(TensorView(to).data, ConstTensorView(from).data, from.bytes(),
                                   context_.stream());
    bytes_to_host_ += static_cast<std::int64_t>(from.bytes());
  };
  fetch(store_.flat_gradients(), host_->gradients);
  fetch(store_.flat_working_gradients(), host_->working_gradients);
  fetch(guard_.factor(), host_->factor);
  fetch(guard_.updates(), host_->updates);
  context_.synchronize();
  FlatParameters parameters{store_.flat_values(), host_->gradients, host_->group_of_segment,
                            inputs_.host(rates_)};
  if (store_.mixed()) {
    parameters.working_weights = store_.flat_working_values();
    parameters.working_gradients = host_->working_gradients;
  }
  parameters.gradient_factor = host_->factor;
  update(host_->context, parameters, host_->updates);
}

void Optimizer::resume_at(std::int64_t steps) {
  steps_taken_ = steps;
  guard_.resume_at(steps);
}

}  // namespace zeroth
