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

void save_tensors(Context& context, const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                  const SafetensorsMetadata& metadata) {
  std::vector<HostTensor> copies;
  for (const NamedTensor& tensor : tensors) {
    copies.push_back({tensor.name, tensor.value.dtype(), tensor.value.shape(), {}});
    copies.back().bytes.resize(tensor.value.bytes());
    tensor.value.copy_to(context, copies.back().bytes);
  }
  save_tensors(path, copies, metadata);
}

void save_tensors(const std::filesystem::path& path, std::span<const HostTensor> tensors,
                  const SafetensorsMetadata& metadata) {
  std::vector<SafetensorsEntry> entries;
  for (const HostTensor& tensor : tensors) {
    entries.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.bytes});
    if (!all_finite(entries.back()))
      fail(ErrorKind::diverged,
           fmt::format("'{}' is no longer finite: nothing saved to {}", tensor.name, path.string()));
  }
  SafetensorsMetadata all = metadata;
  all[kChecksum] = checksum_of(entries, metadata);
  write_safetensors(path, entries, all);
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

void load_weights(Context& context, const SafetensorsFile& file, Network& network) {
  ParameterStore& store = network.store();
  std::vector<NamedTensor> all;
  for (const Parameter& parameter : store.parameters()) all.push_back({parameter.name, parameter.value});
  for (const StateTensor& tensor : store.state()) all.push_back({tensor.name, tensor.value});
  fill_tensors(context, file, all);
  store.refresh_working_values(context);
}

}  // namespace zeroth
