#include "engine/weight_average.h"

#include "kernels/moving_average/moving_average.h"

namespace zeroth {

namespace {

void copy(Context& context, const Tensor& from, const Tensor& to) {
  if (!from.defined() || from.elements() == 0) return;
  context.memory().copy_on_device(TensorView(to).data, ConstTensorView(from).data, from.bytes(),
                                  context.stream());
}

Tensor copy_of(Context& context, const Tensor& from) {
  if (!from.defined()) return {};
  Tensor to = Tensor::empty(context, from.shape(), from.dtype());
  copy(context, from, to);
  return to;
}

MovingAverageOperands operands_of(const ParameterStore& store, const Tensor& average, ConstTensorView share) {
  MovingAverageOperands operands{store.flat_values(), average, share};
  if (store.mixed()) {
    operands.group_of_segment = store.group_of_segment();
    operands.working_weights = store.flat_working_values();
  }
  return operands;
}

}  // namespace

WeightAverage::WeightAverage(Context& context, ParameterStore& store, StepInputs& inputs,
                             const AverageConfig& config)
    : context_(context),
      store_(store),
      config_(config),
      values_(copy_of(context, store.flat_values())),
      state_(copy_of(context, store.flat_state())),
      share_(inputs.add({1}, store.flat_values().dtype())) {}

void WeightAverage::restart() {
  copy(context_, store_.flat_values(), values_);
  copy(context_, store_.flat_state(), state_);
}

void WeightAverage::set_share(StepInputs& inputs, double share) {
  dispatch_reference(share_.dtype, [&]<class T>(TypeTag<T>) {
    const T value = static_cast<T>(share);
    inputs.set(share_, std::as_bytes(std::span(&value, 1)));
  });
}

void WeightAverage::queue(const StepGuard& guard) {
  MovingAverageParams params{values_.elements(), values_.dtype(), store_.working_dtype(),
                             config_.every,      config_.warm_up, config_.write_back};
  const Tensor updates = guard.updates();
  MovingAverageOperands operands = operands_of(store_, values_, share_);
  operands.updates = updates;
  operands.gradient_factor = guard.factor();
  moving_average_step(context_, params, operands);
  params.elements = state_.elements();
  params.working = params.dtype;
  operands.values = store_.flat_state();
  operands.average = state_;
  moving_average_step(context_, params, operands);
}

WeightAverage::InPlace::InPlace(const WeightAverage& average)
    : average_(average),
      values_(copy_of(average.context_, average.store_.flat_values())),
      state_(copy_of(average.context_, average.store_.flat_state())),
      working_values_(copy_of(average.context_, average.store_.flat_working_values())) {
  // A step of share 0 that is written back is a copy, to the 16-bit weights as well.
  Context& context = average.context_;
  const ParameterStore& store = average.store_;
  const Tensor none = Tensor::zeros(context, {1}, average.values_.dtype());
  MovingAverageParams params{average.values_.elements(), average.values_.dtype(), store.working_dtype()};
  params.write_back = true;
  moving_average_step(context, params, operands_of(store, average.values_, none));
  copy(context, average.state_, store.flat_state());
}

WeightAverage::InPlace::~InPlace() {
  const ParameterStore& store = average_.store_;
  copy(average_.context_, values_, store.flat_values());
  copy(average_.context_, state_, store.flat_state());
  copy(average_.context_, working_values_, store.flat_working_values());
}

}  // namespace zeroth
