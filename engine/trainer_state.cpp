// What a training's checkpoint holds, in one piece or from the parts of several ranks.

#include <algorithm>
#include <cstring>

#include "engine/trainer.h"

namespace zeroth {

/// What is laid out as the parameters are.
std::vector<Trainer::FlatBuffer> Trainer::flat_buffers() const {
  std::vector<FlatBuffer> all{{"", network_.store().flat_values()}};
  for (const Optimizer::Moment& moment : optimizer_.moments())
    all.push_back({"optimizer." + moment.name + ".", moment.value});
  return all;
}

/// What every rank has.
std::vector<NamedTensor> Trainer::small_tensors() const {
  std::vector<NamedTensor> all;
  for (const StateTensor& tensor : network_.store().state()) all.push_back({tensor.name, tensor.value});
  all.push_back({"guard.loss_scale", optimizer_.guard().loss_scale()});
  all.push_back({"guard.counters", optimizer_.guard().counters()});
  return all;
}

std::vector<NamedTensor> Trainer::tensors() const {
  require(!network_.store().shares(), "ranks hold parts of the tensors: gather_state() has them whole");
  std::vector<NamedTensor> all;
  for (const FlatBuffer& buffer : flat_buffers())
    for (const Parameter& parameter : network_.store().parameters())
      all.push_back({buffer.prefix + parameter.name, buffer.value.range(parameter.offset, parameter.shape)});
  for (NamedTensor& tensor : small_tensors()) all.push_back(std::move(tensor));
  return all;
}

std::vector<HostTensor> Trainer::state_layout() const {
  std::vector<HostTensor> all;
  for (const FlatBuffer& buffer : flat_buffers())
    for (const Parameter& parameter : network_.store().parameters())
      all.push_back({buffer.prefix + parameter.name, buffer.value.dtype(), parameter.shape, {}});
  for (const NamedTensor& tensor : small_tensors())
    all.push_back({tensor.name, tensor.value.dtype(), tensor.value.shape(), {}});
  return all;
}

std::vector<HostTensor> Trainer::gather_state() {
  std::vector<HostTensor> all = state_layout();
  auto next = all.begin();
  for (const FlatBuffer& buffer : flat_buffers())
    dispatch_reference(buffer.value.dtype(), [&]<class T>(TypeTag<T>) {
      const std::vector<T> values =
          parallel_ ? parallel_->gather<T>(buffer.value) : buffer.value.to_host<T>(context_);
      for (const Parameter& parameter : network_.store().parameters()) {
        const auto bytes =
            std::as_bytes(std::span(values).subspan(static_cast<std::size_t>(parameter.offset),
                                                    static_cast<std::size_t>(parameter.shape.elements())));
        (next++)->bytes.assign(bytes.begin(), bytes.end());
      }
    });
  for (const NamedTensor& tensor : small_tensors()) {
    next->bytes.resize(tensor.value.bytes());
    tensor.value.copy_to(context_, (next++)->bytes);
  }
  return all;
}

void Trainer::scatter_state(
    const std::function<std::span<const std::byte>(const std::string& name)>& bytes_of, std::int64_t steps) {
  ParameterStore& store = network_.store();
  bool first = true;
  for (const FlatBuffer& buffer : flat_buffers())
    dispatch_reference(buffer.value.dtype(), [&]<class T>(TypeTag<T>) {
      std::vector<T> values(static_cast<std::size_t>(store.elements()));
      for (const Parameter& parameter : store.parameters()) {
        const std::span<const std::byte> bytes = bytes_of(buffer.prefix + parameter.name);
        require(bytes.size() == static_cast<std::size_t>(parameter.shape.elements()) * sizeof(T),
                "a training's state is taken from tensors of the same sizes");
        std::memcpy(values.data() + parameter.offset, bytes.data(), bytes.size());
      }
      if (std::exchange(first, false)) return store.set_values<T>(context_, values);
      const std::vector<T> own = store.own_part(std::span<const T>(values));
      buffer.value.copy_from(context_, std::as_bytes(std::span(own)));
    });
  for (const NamedTensor& tensor : small_tensors()) tensor.value.copy_from(context_, bytes_of(tensor.name));
  optimizer_.resume_at(steps);
  order_epoch_ = -1;
}

void Trainer::resume_at(std::int64_t steps) {
  network_.store().refresh_working_values(context_);
  optimizer_.resume_at(steps);
  order_epoch_ = -1;
}

}  // namespace zeroth
