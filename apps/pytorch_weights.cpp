#include "apps/pytorch_weights.h"

#include <fmt/format.h>

#include <cstring>
#include <span>

#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

/// KRSC <-> KCRS: the shape of filters in the other layout.
Shape pytorch_shape(const Shape& krsc) {
  return krsc.rank() == 4 ? Shape{krsc[0], krsc[3], krsc[1], krsc[2]} : krsc;
}

/// Calls move(place in KRSC, place in KCRS) for every element of filters.
template <class Move>
void for_each_place(const Shape& krsc, Move&& move) {
  const std::int64_t pixels = krsc[1] * krsc[2], channels = krsc[3];
  for (std::int64_t k = 0; k < krsc[0]; ++k)
    for (std::int64_t rs = 0; rs < pixels; ++rs)
      for (std::int64_t c = 0; c < channels; ++c)
        move(static_cast<std::size_t>((k * pixels + rs) * channels + c),
             static_cast<std::size_t>((k * channels + c) * pixels + rs));
}

struct Target {
  const std::string* name;
  const Tensor* value;
};

std::vector<Target> targets(const ParameterStore& store) {
  std::vector<Target> all;
  for (const Parameter& parameter : store.parameters()) all.push_back({&parameter.name, &parameter.value});
  for (const StateTensor& tensor : store.state()) all.push_back({&tensor.name, &tensor.value});
  return all;
}

}  // namespace

std::vector<NamedArray> pytorch_weights(Context& context, const ParameterStore& store) {
  std::vector<NamedArray> arrays;
  for (const auto& [name, value] : targets(store)) {
    std::vector<float> values = value->to_host<float>(context);
    if (value->shape().rank() == 4) {
      std::vector<float> moved(values.size());
      for_each_place(value->shape(), [&](std::size_t krsc, std::size_t kcrs) { moved[kcrs] = values[krsc]; });
      values = std::move(moved);
    }
    arrays.push_back({*name, pytorch_shape(value->shape()), std::move(values)});
  }
  return arrays;
}

void write_arrays(const std::filesystem::path& path, const std::vector<NamedArray>& arrays,
                  const SafetensorsMetadata& metadata) {
  std::vector<SafetensorsEntry> entries;
  for (const NamedArray& array : arrays)
    entries.push_back({array.name, DType::f32, array.shape, std::as_bytes(std::span(array.values))});
  write_safetensors(path, entries, metadata);
}

bool has_pytorch_filters(const SafetensorsFile& file, const ParameterStore& store) {
  bool differs = false;
  for (const Parameter& parameter : store.parameters()) {
    const SafetensorsEntry* entry = file.find(parameter.name);
    if (entry == nullptr || parameter.shape.rank() != 4) continue;
    // 3x3 filters over three channels look alike in both layouts; those of the blocks do not.
    if (entry->shape != pytorch_shape(parameter.shape)) return false;
    differs = differs || entry->shape != parameter.shape;
  }
  return differs;
}

void load_pytorch_weights(Context& context, const SafetensorsFile& file, Network& network) {
  const std::vector<Target> all = targets(network.store());
  for (const auto& [name, value] : all) {
    const SafetensorsEntry* entry = file.find(*name);
    if (entry == nullptr)
      fail(ErrorKind::data,
           fmt::format("{} has no tensor '{}': it belongs to another model", file.path().string(), *name));
    const Shape wanted = pytorch_shape(value->shape());
    if (entry->shape != wanted || entry->dtype != DType::f32)
      fail(ErrorKind::data, fmt::format("{}: '{}' is {} {}, but this model has f32 {} in PyTorch's layout",
                                        file.path().string(), *name, name_of(entry->dtype),
                                        entry->shape.to_string(), wanted.to_string()));
  }
  for (const auto& [name, value] : all) {
    const SafetensorsEntry* entry = file.find(*name);
    std::vector<float> values(static_cast<std::size_t>(value->elements()));
    std::memcpy(values.data(), entry->bytes.data(), entry->bytes.size());
    if (value->shape().rank() == 4) {
      std::vector<float> moved(values.size());
      for_each_place(value->shape(), [&](std::size_t krsc, std::size_t kcrs) { moved[krsc] = values[kcrs]; });
      values = std::move(moved);
    }
    value->copy_from(context, std::as_bytes(std::span(values)));
  }
  network.store().refresh_working_values(context);
}

}  // namespace zeroth::app
