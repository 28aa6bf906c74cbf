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
  const int index = training() ? add_slot({value.shape(), value.dtype(), {}, false, nullptr, 0}) : -1;
  return {std::move(value), index};
}

Variable Tape::parameter(Parameter& parameter) {
  Tensor value = parameter.home != nullptr ? parameter.home->value(parameter) : parameter.working_value;
  if (!training()) return {std::move(value), -1, &parameter};
  const auto [found, inserted] = parameter_slots_.try_emplace(&parameter, -1);
  if (inserted) {
    found->second = add_slot({parameter.shape, value.dtype(), {}, false, &parameter, nodes_.size()});
    unfinished_.push_back(found->second);
  }
  return {std::move(value), found->second, &parameter};
}

Variable Tape::result(Tensor value, bool wants) {
  const int index =
      training() && wants ? add_slot({value.shape(), value.dtype(), {}, false, nullptr, 0}) : -1;
  return {std::move(value), index};
}

void Tape::backward(const Variable& output, Tensor seed) {
  require(output.slot >= 0,
          "backward needs an output that depends on a parameter or an input of a training tape");
  adopt(output.slot, std::move(seed));
  while (!nodes_.empty()) {
    std::unique_ptr<Node> node = std::move(nodes_.back());
    nodes_.pop_back();
    node->backward(*this);
    node.reset();
    finish_parameters();
  }
  join();
  finish_parameters();
}

/// Of the parameters whose first node has run, those with nothing beside the stream on its way to them.
void Tape::finish_parameters() {
  while (!unfinished_.empty() && slot(unfinished_.back()).first_node >= nodes_.size() &&
         unfinished_.back() != beside_.slot) {
    Slot& entry = slot(unfinished_.back());
    unfinished_.pop_back();
    if (!entry.written) {
      const TensorView view = gradient_of(entry);
      context_.memory().fill_zero(view.data, view.bytes(), context_.stream());
    }
    entry.gradient = {};
    if (entry.parameter->home != nullptr) entry.parameter->home->finished(*entry.parameter);
  }
}

/// The buffer in which a slot's gradient gathers.
Tensor& Tape::gradient_of(Slot& entry) {
  if (entry.gradient.defined()) return entry.gradient;
  Parameter* const parameter = entry.parameter;
  if (parameter == nullptr)
    entry.gradient = Tensor::empty(context_, entry.shape, entry.dtype);
  else
    entry.gradient =
        parameter->home != nullptr ? parameter->home->gradient(*parameter) : parameter->working_gradient;
  return entry.gradient;
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
  const Tensor& gradient = gradient_of(entry);
  const GradMode mode = entry.written ? GradMode::accumulate : GradMode::overwrite;
  entry.written = true;
  return {gradient, mode};
}

bool Tape::can_adopt(int index) const {
  return index >= 0 && !slot(index).written && slot(index).parameter == nullptr;
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
