#include "engine/parameters.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/core/philox.h"

namespace zeroth {

const char* name_of(ParameterGroup group) {
  switch (group) {
    case ParameterGroup::weight:
      return "weight";
    case ParameterGroup::bias:
      return "bias";
    case ParameterGroup::norm:
      return "norm";
    case ParameterGroup::alpha:
      return "alpha";
    case ParameterGroup::hidden:
      return "hidden";
  }
  return "?";
}

Initialisation Initialisation::kaiming_normal(std::int64_t fan_in) {
  return {Kind::normal, std::sqrt(2.0 / static_cast<double>(fan_in))};
}

namespace {

std::int64_t padded(std::int64_t elements) {
  return (elements + kParameterSegment - 1) / kParameterSegment * kParameterSegment;
}

/// Four values from the four words of one Philox draw: two Box-Muller pairs, or four uniform numbers.
void draw_four(const Initialisation& how, const PhiloxWords& draw, double* values) {
  const auto unit = [&](int i) { return static_cast<double>(uniform_unit(draw.word[i])); };
  if (how.kind == Initialisation::Kind::normal) {
    for (int pair = 0; pair < 2; ++pair) {
      const double radius = how.value * std::sqrt(-2.0 * std::log(unit(2 * pair)));
      const double angle = 2.0 * std::numbers::pi * unit(2 * pair + 1);
      values[2 * pair] = radius * std::cos(angle);
      values[2 * pair + 1] = radius * std::sin(angle);
    }
  } else {
    for (int i = 0; i < 4; ++i) values[i] = how.value * (2.0 * unit(i) - 1.0);
  }
}

/// The first filters of (K, R, S, C) become 1 at the middle of one channel, and 0 elsewhere.
template <class T>
void set_identity(const Shape& filters, T* values) {
  require(filters.rank() == 4, "the identity is for filters");
  const std::int64_t r = filters[1], s = filters[2], c = filters[3];
  for (std::int64_t k = 0; k < std::min(filters[0], c); ++k) {
    std::fill_n(values + k * r * s * c, r * s * c, T{0});
    values[((k * r + r / 2) * s + s / 2) * c + k] = T{1};
  }
}

template <class T>
void initialise(const Parameter& parameter, std::uint64_t seed, std::uint32_t index, T* values) {
  const std::int64_t count = parameter.shape.elements();
  if (parameter.initialisation.kind == Initialisation::Kind::constant) {
    std::fill_n(values, count, static_cast<T>(parameter.initialisation.value));
    return;
  }
  for (std::int64_t i = 0; i < count; i += 4) {
    double four[4];
    draw_four(parameter.initialisation,
              philox(seed, index, static_cast<std::uint64_t>(i / 4), RandomUse::initialise), four);
    for (std::int64_t j = 0; j < std::min<std::int64_t>(4, count - i); ++j)
      values[i + j] = static_cast<T>(four[j]);
  }
  if (parameter.initialisation.kind == Initialisation::Kind::identity) set_identity(parameter.shape, values);
}

}  // namespace

Parameter& ParameterStore::add(std::string name, const Shape& shape, ParameterGroup group,
                               Initialisation initialisation) {
  require(!values_.defined(), "parameters are added before the store is materialised");
  parameters_.push_back(
      {std::move(name), shape, group, initialisation, false, flat_elements_, {}, {}, {}, {}});
  flat_elements_ += padded(shape.elements());
  return parameters_.back();
}

StateTensor& ParameterStore::add_state(std::string name, const Shape& shape, double initial) {
  require(!values_.defined(), "state is added before the store is materialised");
  state_.push_back({std::move(name), shape, initial, state_elements_, {}});
  state_elements_ += padded(shape.elements());
  return state_.back();
}

void ParameterStore::materialise(Context& context, std::uint64_t seed, DType working) {
  require(!values_.defined(), "a parameter store is materialised once");
  working_dtype_ = working;
  const DType dtype = statistics_dtype(working);
  const bool mixed = working != dtype;
  const auto has_working_copy = [mixed](const Parameter& parameter) {
    return mixed && is_weight(parameter.group);
  };
  dispatch_reference(dtype, [&]<class T>(TypeTag<T>) {
    std::vector<T> values(static_cast<std::size_t>(flat_elements_)),
        state(static_cast<std::size_t>(state_elements_));
    std::vector<std::uint8_t> groups(static_cast<std::size_t>(flat_elements_ / kParameterSegment));
    std::uint32_t index = 0;
    for (const Parameter& parameter : parameters_) {
      initialise(parameter, seed, index++, values.data() + parameter.offset);
      std::fill_n(groups.begin() + parameter.offset / kParameterSegment,
                  padded(parameter.shape.elements()) / kParameterSegment,
                  static_cast<std::uint8_t>(
                      (parameter.frozen ? kParameterGroups : static_cast<int>(parameter.group)) |
                      (has_working_copy(parameter) ? kWorkingSegment : 0)));
    }
    for (const StateTensor& tensor : state_)
      std::fill_n(state.begin() + tensor.offset, tensor.shape.elements(), static_cast<T>(tensor.initial));
    values_ = Tensor::from_host<T>(context, {flat_elements_}, values);
    state_values_ = Tensor::from_host<T>(context, {state_elements_}, state);
    group_of_segment_ =
        Tensor::from_host<std::uint8_t>(context, {flat_elements_ / kParameterSegment}, groups);
  });
  gradients_ = Tensor::zeros(context, {flat_elements_}, dtype);
  if (mixed) {
    working_values_ = Tensor::zeros(context, {flat_elements_}, working);
    working_gradients_ = Tensor::zeros(context, {flat_elements_}, working);
  }
  for (Parameter& parameter : parameters_) {
    parameter.value = values_.range(parameter.offset, parameter.shape);
    parameter.gradient = gradients_.range(parameter.offset, parameter.shape);
    const bool copy = has_working_copy(parameter);
    parameter.working_value =
        copy ? working_values_.range(parameter.offset, parameter.shape) : parameter.value;
    parameter.working_gradient =
        copy ? working_gradients_.range(parameter.offset, parameter.shape) : parameter.gradient;
  }
  for (StateTensor& tensor : state_) tensor.value = state_values_.range(tensor.offset, tensor.shape);
  refresh_working_values(context);
}

void ParameterStore::refresh_working_values(Context& context) {
  if (!mixed()) return;
  const std::vector<float> values = values_.to_host<float>(context);
  dispatch_storage(working_dtype_, [&]<class W>(TypeTag<W>) {
    std::vector<W> narrow(values.size());
    std::transform(values.begin(), values.end(), narrow.begin(), from_compute<W>);
    working_values_.copy_from(context, std::as_bytes(std::span(narrow)));
  });
}

std::int64_t ParameterStore::count() const {
  std::int64_t total = 0;
  for (const Parameter& parameter : parameters_) total += parameter.frozen ? 0 : parameter.shape.elements();
  return total;
}

}  // namespace zeroth
