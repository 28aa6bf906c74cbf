#include "engine/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>

#include "engine/crc.h"

namespace zeroth {

namespace {

constexpr const char* kChecksum = "crc32";

/// A text with the zero byte that ends it.
void add_text(Crc32& crc, std::string_view text) {
  crc.add(std::as_bytes(std::span(text)));
  crc.add(std::as_bytes(std::span("", 1)));
}

std::string checksum_of(std::span<const SafetensorsEntry> tensors, const SafetensorsMetadata& metadata) {
  Crc32 crc;
  for (const auto& [key, value] : metadata) {
    if (key == kChecksum) continue;
    add_text(crc, key);
    add_text(crc, value);
  }
  std::vector<const SafetensorsEntry*> order;
  for (const SafetensorsEntry& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
  for (const SafetensorsEntry* tensor : order) {
    add_text(crc, tensor->name);
    add_text(crc, name_of(tensor->dtype));
    add_text(crc, tensor->shape.to_string());
    crc.add(tensor->bytes);
  }
  return fmt::format("{:08x}", crc.value());
}

/// Parameters, state and moments are f32, or f64 in checks; other tensors hold no numbers that diverge.
bool all_finite(const SafetensorsEntry& tensor) {
  const auto check = [&]<class T>(T value) {
    for (std::size_t i = 0; i < tensor.bytes.size(); i += sizeof(T)) {
      std::memcpy(&value, tensor.bytes.data() + i, sizeof(T));
      if (!std::isfinite(value)) return false;
    }
    return true;
  };
  if (tensor.dtype == DType::f32) return check(0.0f);
  return tensor.dtype != DType::f64 || check(0.0);
}

}  // namespace

namespace {

/// Throws where a value is not finite.
void check_finite(const SafetensorsEntry& entry, const std::filesystem::path& path) {
  if (!all_finite(entry))
    fail(ErrorKind::diverged,
         fmt::format("'{}' is no longer finite: nothing saved to {}", entry.name, path.string()));
}

void write_with_checksum(const std::filesystem::path& path, std::span<const SafetensorsEntry> entries,
                         SafetensorsMetadata metadata) {
  metadata[kChecksum] = checksum_of(entries, metadata);
  write_safetensors(path, entries, metadata);
}

/// The tensor of that name, dtype and shape.
const SafetensorsEntry& find_tensor(const SafetensorsFile& file, const std::string& name, DType dtype,
                                    const Shape& shape) {
  const SafetensorsEntry* entry = file.find(name);
  if (entry == nullptr)
    fail(ErrorKind::data,
         fmt::format("{} has no tensor '{}': it belongs to another model", file.path().string(), name));
  if (entry->shape != shape || entry->dtype != dtype)
    fail(ErrorKind::data,
         fmt::format("{}: '{}' is {} {}, but this model has {} {}", file.path().string(), name,
                     name_of(entry->dtype), entry->shape.to_string(), name_of(dtype), shape.to_string()));
  return *entry;
}

}  // namespace

void save_training(Trainer& trainer, const std::filesystem::path& path, const SafetensorsMetadata& metadata) {
  const std::vector<HostTensor> state = trainer.gather_state();
  std::vector<SafetensorsEntry> entries;
  for (const HostTensor& tensor : state) {
    entries.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.bytes});
    check_finite(entries.back(), path);
  }
  const Communicator* communicator = trainer.config().communicator;
  if (communicator == nullptr || communicator->rank() == 0) write_with_checksum(path, entries, metadata);
}

void load_training(Trainer& trainer, const SafetensorsFile& file, std::int64_t steps) {
  for (const HostTensor& tensor : trainer.state_layout())
    static_cast<void>(find_tensor(file, tensor.name, tensor.dtype, tensor.shape));
  trainer.scatter_state([&](const std::string& name) { return file.find(name)->bytes; }, steps);
}

void save_tensors(Context& context, const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                  const SafetensorsMetadata& metadata) {
  std::vector<std::vector<std::byte>> copies;
  std::vector<SafetensorsEntry> entries;
  copies.reserve(tensors.size());
  for (const NamedTensor& tensor : tensors) {
    std::vector<std::byte>& copy = copies.emplace_back(tensor.value.bytes());
    tensor.value.copy_to(context, copy);
    entries.push_back({tensor.name, tensor.value.dtype(), tensor.value.shape(), copy});
    check_finite(entries.back(), path);
  }
  write_with_checksum(path, entries, metadata);
}

void check_contents(const SafetensorsFile& file) {
  const auto stored = file.metadata().find(kChecksum);
  if (stored == file.metadata().end())
    fail(ErrorKind::data, fmt::format("{} is damaged: it has no '{}'", file.path().string(), kChecksum));
  const std::string actual = checksum_of(file.tensors(), file.metadata());
  if (stored->second != actual)
    fail(ErrorKind::data,
         fmt::format("{} is damaged: its contents have the checksum {}, not the '{}' {} they "
                     "were written with; take another checkpoint",
                     file.path().string(), actual, kChecksum, stored->second));
}

void fill_tensors(Context& context, const SafetensorsFile& file, std::span<const NamedTensor> tensors) {
  for (const NamedTensor& tensor : tensors)
    static_cast<void>(find_tensor(file, tensor.name, tensor.value.dtype(), tensor.value.shape()));
  for (const NamedTensor& tensor : tensors) {
    Tensor value = tensor.value;
    value.copy_from(context, file.find(tensor.name)->bytes);
  }
}

void load_weights(Context& context, const SafetensorsFile& file, Network& network) {
  ParameterStore& store = network.store();
  std::vector<NamedTensor> all;
  for (const Parameter& parameter : store.parameters()) all.push_back({parameter.name, parameter.value});
  for (const StateTensor& tensor : store.state()) all.push_back({tensor.name, tensor.value});
  fill_tensors(context, file, all);
  store.refresh_working_values(context);
}

}  // namespace zeroth
