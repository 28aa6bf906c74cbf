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
  }
  return "?";
}

Initialisation Initialisation::kaiming_normal(std::int64_t fan_in) {
  return {Kind::normal, std::sqrt(2.0 / static_cast<double>(fan_in))};
}

namespace {

std::int64_t padded(std::int64_t elements, std::int64_t whole) {
  return (elements + whole - 1) / whole * whole;
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
}

}  // namespace

Parameter& ParameterStore::add(std::string name, const Shape& shape, ParameterGroup group,
                               Initialisation initialisation) {
  require(!values_.defined(), "parameters are added before the store is materialised");
  Parameter& parameter = parameters_.emplace_back();
  parameter.name = std::move(name);
  parameter.shape = shape;
  parameter.group = group;
  parameter.initialisation = initialisation;
  return parameter;
}

StateTensor& ParameterStore::add_state(std::string name, const Shape& shape, double initial) {
  require(!values_.defined(), "state is added before the store is materialised");
  state_.push_back({std::move(name), shape, initial, state_elements_, {}});
  state_elements_ += padded(shape.elements(), kParameterSegment);
  return state_.back();
}

bool ParameterStore::has_working_copy(const Parameter& parameter) const {
  return working_dtype_ != statistics_dtype(working_dtype_) && parameter.group == ParameterGroup::weight;
}

/// Gives every parameter its place: weights first, in chunks of about chunk_bytes, then all others in one.
void ParameterStore::lay_out(DType working, const Residency& residency) {
  working_dtype_ = working;
  residency_ = residency;
  chunks_.clear();
  elements_ = 0;
  const std::int64_t whole = kParameterSegment * residency_.ranks;
  const auto end_chunk = [&] {
    if (chunks_.empty() || chunks_.back().end > 0) return;
    chunks_.back().end = elements_ = padded(elements_, whole);
  };
  for (const bool weights : {true, false}) {
    end_chunk();
    bool open = false;
    for (Parameter& parameter : parameters_) {
      if ((parameter.group == ParameterGroup::weight) != weights) continue;
      const std::int64_t size = padded(parameter.shape.elements(), kParameterSegment);
      const auto bytes = [&](std::int64_t elements) {
        return elements * static_cast<std::int64_t>(size_of(weights ? working_dtype_ : DType::f32));
      };
      const bool full = open && weights && residency_.chunk_bytes > 0 &&
                        bytes(elements_ - chunks_.back().begin) + bytes(size) / 2 > residency_.chunk_bytes;
      if (!open || full) {
        end_chunk();
        chunks_.push_back({elements_, 0, has_working_copy(parameter), false, {}, {}, {}, {}});
        open = true;
      }
      parameter.offset = elements_;
      parameter.chunk = chunks_.size() - 1;
      chunks_.back().parameters.push_back(&parameter);
      elements_ += size;
    }
  }
  end_chunk();
  // The first chunks of weights are the ones that ranks share: the last ones are used last and first again.
  std::int64_t of_weights = 0;
  for (const Chunk& chunk : chunks_)
    of_weights += chunk.parameters.front()->group == ParameterGroup::weight ? 1 : 0;
  const auto shared =
      static_cast<std::size_t>(std::llround(residency_.shared_values * static_cast<double>(of_weights)));
  if (residency_.sharing == Sharing::values)
    for (std::size_t i = 0; i < shared; ++i) chunks_[i].shares_values = true;
}

/// The flat buffers, and of every chunk what stays.
void ParameterStore::allocate(Context& context) {
  const DType dtype = statistics_dtype(working_dtype_);
  const bool mixed = working_dtype_ != dtype;
  const std::int64_t own = shares() ? elements_ / residency_.ranks : elements_;
  const bool offloads = residency_.offload != Offload::nothing;
  const auto values = [&](DType of) {
    return offloads ? Tensor::pinned(context, {own}, of) : Tensor::zeros(context, {own}, of);
  };
  values_ = values(dtype);
  gradients_ = Tensor::zeros(context, {own}, dtype);
  if (mixed) {
    working_values_ = values(working_dtype_);
    working_gradients_ = Tensor::zeros(context, {own}, working_dtype_);
  }
  for (Chunk& chunk : chunks_) {
    const Shape shape{chunk.elements()}, part{chunk.elements() / residency_.ranks};
    const DType seen = chunk.working ? working_dtype_ : dtype;
    if (!shares())
      chunk.gradients = (chunk.working ? working_gradients_ : gradients_).range(chunk.begin, shape);
    else if (residency_.sharing == Sharing::optimizer_state)
      chunk.gradients = Tensor::zeros(context, shape, seen);
    if (!shares() && !offloads)
      chunk.values = (chunk.working ? working_values_ : values_).range(chunk.begin, shape);
    else if (!chunk.shares_values)
      chunk.values = Tensor::zeros(context, shape, seen);
    else if (residency_.offload == Offload::optimizer)
      chunk.own_values = Tensor::zeros(context, part, seen);
  }
}

void ParameterStore::point_parameters() {
  for (Parameter& parameter : parameters_) {
    const Chunk& chunk = chunks_[parameter.chunk];
    const auto part = [&](const Tensor& of_chunk) {
      return of_chunk.defined() ? of_chunk.range(parameter.offset - chunk.begin, parameter.shape) : Tensor();
    };
    parameter.working_value = part(chunk.values);
    parameter.working_gradient = part(chunk.gradients);
    if (shares()) continue;
    parameter.value = values_.range(parameter.offset, parameter.shape);
    parameter.gradient = gradients_.range(parameter.offset, parameter.shape);
  }
}

void ParameterStore::materialise(Context& context, std::uint64_t seed, DType working,
                                 const Residency& residency) {
  require(!values_.defined(), "a parameter store is materialised once");
  lay_out(working, residency);
  allocate(context);
  point_parameters();
  dispatch_reference(statistics_dtype(working), [&]<class T>(TypeTag<T>) {
    std::vector<T> values(static_cast<std::size_t>(elements_)),
        state(static_cast<std::size_t>(state_elements_));
    std::vector<std::uint8_t> groups(static_cast<std::size_t>(elements_ / kParameterSegment));
    std::uint32_t index = 0;
    for (const Parameter& parameter : parameters_) {
      initialise(parameter, seed, index++, values.data() + parameter.offset);
      std::fill_n(groups.begin() + parameter.offset / kParameterSegment,
                  padded(parameter.shape.elements(), kParameterSegment) / kParameterSegment,
                  static_cast<std::uint8_t>(static_cast<int>(parameter.group) |
                                            (has_working_copy(parameter) ? kWorkingSegment : 0)));
    }
    for (const StateTensor& tensor : state_)
      std::fill_n(state.begin() + tensor.offset, tensor.shape.elements(), static_cast<T>(tensor.initial));
    set_values<T>(context, values);
    state_values_ = Tensor::from_host<T>(context, {state_elements_}, state);
    const std::vector<std::uint8_t> own_groups =
        own_part(std::span<const std::uint8_t>(groups), kParameterSegment);
    group_of_segment_ =
        Tensor::from_host<std::uint8_t>(context, {static_cast<std::int64_t>(own_groups.size())}, own_groups);
  });
  for (StateTensor& tensor : state_) tensor.value = state_values_.range(tensor.offset, tensor.shape);
}

template <class T>
std::vector<T> ParameterStore::own_part(std::span<const T> all, std::int64_t unit) const {
  if (!shares()) return {all.begin(), all.end()};
  std::vector<T> own;
  own.reserve(all.size() / static_cast<std::size_t>(residency_.ranks));
  for (const Chunk& chunk : chunks_) {
    const std::int64_t part = chunk.elements() / residency_.ranks / unit;
    const auto first = all.begin() + chunk.begin / unit + residency_.rank * part;
    own.insert(own.end(), first, first + part);
  }
  return own;
}

template <class T>
void ParameterStore::set_values(Context& context, std::span<const T> values) {
  require(static_cast<std::int64_t>(values.size()) == elements_, "values are set for all elements together");
  const std::vector<T> own = own_part(values);
  values_.copy_from(context, std::as_bytes(std::span(own)));
  const auto narrow = [&](std::span<const T> wide, const Tensor& to) {
    if constexpr (std::is_same_v<T, float>)
      dispatch_storage(working_dtype_, [&]<class W>(TypeTag<W>) {
        std::vector<W> copy(wide.size());
        std::transform(wide.begin(), wide.end(), copy.begin(), from_compute<W>);
        to.copy_from(context, std::as_bytes(std::span(copy)));
      });
  };
  if (mixed()) narrow(own, working_values_);
  if (!shares() && residency_.offload == Offload::nothing) return;
  const auto fill = [&](const Chunk& chunk, std::int64_t begin, const Tensor& to) {
    if (!to.defined()) return;
    const auto part =
        values.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(to.elements()));
    if (chunk.working)
      narrow(part, to);
    else
      to.copy_from(context, std::as_bytes(part));
  };
  for (const Chunk& chunk : chunks_) {
    fill(chunk, chunk.begin, chunk.values);
    fill(chunk, chunk.begin + residency_.rank * (chunk.elements() / residency_.ranks), chunk.own_values);
  }
}

template void ParameterStore::set_values(Context&, std::span<const float>);
template void ParameterStore::set_values(Context&, std::span<const double>);
template std::vector<float> ParameterStore::own_part(std::span<const float>, std::int64_t) const;
template std::vector<double> ParameterStore::own_part(std::span<const double>, std::int64_t) const;

void ParameterStore::refresh_working_values(Context& context) {
  require(!shares(), "values that ranks share are set together");
  if (!mixed() && residency_.offload == Offload::nothing) return;
  set_values<float>(context, values_.to_host<float>(context));
}

std::int64_t ParameterStore::count() const {
  std::int64_t total = 0;
  for (const Parameter& parameter : parameters_) total += parameter.shape.elements();
  return total;
}

}  // namespace zeroth
