#include "engine/tape.h"

#include <utility>

namespace zeroth {

Tape::~Tape() {
  try {  // a step that failed may have left work that reads what is released here
    join();
  } catch (const Error&) {  // the device has failed, or the capture
  }
}

void Tape::join() {
  if (beside_.slot < 0) return;
  const Beside done = std::exchange(beside_, {});  // released once the wait is queued
  context_.join();
}

int Tape::add_slot(Slot slot) {
  slots_.push_back(std::move(slot));
  return static_cast<int>(slots_.size()) - 1;
}

Variable Tape::input(Tensor value) {
  const int index = training() ? add_slot({value.shape(), value.dtype(), {}, false, false}) : -1;
  return {std::move(value), index};
}

Variable Tape::parameter(Parameter& parameter) {
  const Tensor& value = parameter.working_value;
  if (!training()) return {value, -1};
  const auto [found, inserted] = parameter_slots_.try_emplace(&parameter, -1);
  if (inserted)
    found->second = add_slot({parameter.shape, value.dtype(), parameter.working_gradient, false, true});
  return {value, found->second};
}

Variable Tape::result(Tensor value, bool wants) {
  const int index = training() && wants ? add_slot({value.shape(), value.dtype(), {}, false, false}) : -1;
  if (keeps_results_) results_.push_back({value});
  return {std::move(value), index};
}

void Tape::note_parameter(int parameter_slot) {
  for (const auto& [parameter, slot] : parameter_slots_)
    if (slot == parameter_slot) results_.back().parameter = parameter;
}

void Tape::backward(const Variable& output, Tensor seed) {
  require(output.slot >= 0,
          "backward needs an output that depends on a parameter or an input of a training tape");
  adopt(output.slot, std::move(seed));
  while (!nodes_.empty()) {
    const std::unique_ptr<Node> node = std::move(nodes_.back());
    nodes_.pop_back();
    node->backward(*this);
  }
  join();
  for (const Slot& entry : slots_) {
    if (!entry.is_parameter || entry.written) continue;
    const TensorView view = entry.gradient;
    context_.memory().fill_zero(view.data, view.bytes(), context_.stream());
  }
}

Tensor Tape::take_gradient(int index) {
  if (index < 0 || !slot(index).written) return {};
  if (index == beside_.slot) join();
  return std::move(slot(index).gradient);
}

Tape::Target Tape::target(int index) {
  if (index < 0) return {};
  if (index == beside_.slot) join();
  Slot& entry = slot(index);
  if (!entry.gradient.defined()) entry.gradient = Tensor::empty(context_, entry.shape, entry.dtype);
  const GradMode mode = entry.written ? GradMode::accumulate : GradMode::overwrite;
  entry.written = true;
  return {entry.gradient, mode};
}

bool Tape::can_adopt(int index) const {
  return index >= 0 && !slot(index).written && !slot(index).is_parameter;
}

void Tape::adopt(int index, Tensor gradient) {
  require(can_adopt(index), "a gradient is adopted only by a slot that holds none");
  Slot& entry = slot(index);
  require(gradient.shape() == entry.shape && gradient.dtype() == entry.dtype,
          "an adopted gradient has its tensor's shape and dtype");
  entry.gradient = std::move(gradient);
  entry.written = true;
}

const Tensor& Tape::gradient(const Variable& leaf) const {
  static const Tensor none;
  return leaf.slot >= 0 && slot(leaf.slot).written ? slot(leaf.slot).gradient : none;
}

}  // namespace zeroth
