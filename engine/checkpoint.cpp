#include "engine/checkpoint.h"

#include <fmt/format.h>

namespace zeroth {

void save_tensors(Context& context, const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                  const SafetensorsMetadata& metadata) {
  std::vector<std::vector<std::byte>> copies;
  std::vector<SafetensorsEntry> entries;
  copies.reserve(tensors.size());
  for (const NamedTensor& tensor : tensors) {
    std::vector<std::byte>& copy = copies.emplace_back(tensor.value.bytes());
    tensor.value.copy_to(context, copy);
    entries.push_back({tensor.name, tensor.value.dtype(), tensor.value.shape(), copy});
  }
  write_safetensors(path, entries, metadata);
}

void fill_tensors(Context& context, const SafetensorsFile& file, std::span<const NamedTensor> tensors) {
  for (const NamedTensor& tensor : tensors) {
    const SafetensorsEntry* entry = file.find(tensor.name);
    if (entry == nullptr)
      fail(ErrorKind::data, fmt::format("{} has no tensor '{}': it belongs to another model",
                                        file.path().string(), tensor.name));
    if (entry->shape != tensor.value.shape() || entry->dtype != tensor.value.dtype())
      fail(ErrorKind::data, fmt::format("{}: '{}' is {} {}, but this model has {} {}", file.path().string(),
                                        tensor.name, name_of(entry->dtype), entry->shape.to_string(),
                                        name_of(tensor.value.dtype()), tensor.value.shape().to_string()));
  }
  for (const NamedTensor& tensor : tensors) {
    Tensor value = tensor.value;
    value.copy_from(context, file.find(tensor.name)->bytes);
  }
}

std::vector<NamedTensor> weights_of(const Network& network) {
  std::vector<NamedTensor> all;
  for (const Parameter& parameter : network.store().parameters())
    all.push_back({parameter.name, parameter.value});
  for (const StateTensor& tensor : network.store().state()) all.push_back({tensor.name, tensor.value});
  return all;
}

}  // namespace zeroth
