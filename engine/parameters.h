#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "kernels/core/flat_parameters.h"

namespace zeroth {

/// Parameters of a group share a learning rate and a weight decay; those that are frozen have neither.
/// Filters and matrices between a network's first layer and its last are `hidden`, those two layers' are
/// `weight`.
enum class ParameterGroup : std::uint8_t { weight, bias, norm, alpha, hidden };
inline constexpr int kParameterGroups = 5;
const char* name_of(ParameterGroup group);

/// Whether convolutions and linear layers multiply by it: it has a 16-bit copy in mixed precision.
inline bool is_weight(ParameterGroup group) {
  return group == ParameterGroup::weight || group == ParameterGroup::hidden;
}

/// How a parameter begins.
struct Initialisation {
  enum class Kind : std::uint8_t { constant, normal, uniform, identity } kind = Kind::constant;
  double value = 0.0;  ///< the constant; the standard deviation; the bound b of U(-b, b), of identity, too

  static Initialisation constant(double value) { return {Kind::constant, value}; }
  /// Kaiming normal, fan in, gain sqrt 2 (He et al., "Delving deep into rectifiers", 2015): N(0, 2 / fan_in).
  static Initialisation kaiming_normal(std::int64_t fan_in);
  static Initialisation uniform(double bound) { return {Kind::uniform, bound}; }
  /// Of filters (K, R, S, C): the first min(K, C) hand on one channel each, the others are U(-bound, bound).
  static Initialisation identity(double bound) { return {Kind::identity, bound}; }
};

/// One tensor of weights: a slice of the flat value and gradient buffers.
struct Parameter {
  std::string name;
  Shape shape;
  ParameterGroup group;
  Initialisation initialisation;
  bool frozen = false;      ///< no optimizer changes it; set before the store is materialised
  std::int64_t offset = 0;  ///< elements from the start of the flat buffers, a multiple of kParameterSegment
  Tensor value, gradient;
  /// What operations read and write: in mixed precision the 16-bit copies of weights, otherwise `value` and
  /// `gradient` themselves.
  Tensor working_value, working_gradient;
};

/// A tensor of a network that is state and not trained, such as a running mean: a slice of the flat state
/// buffer.
struct StateTensor {
  std::string name;
  Shape shape;
  double initial = 0.0;
  std::int64_t offset = 0;
  Tensor value;
};

/// All parameters and state of a network, in the fixed order in which they were added, in one flat buffer
/// each for values, gradients and state. Add everything, then materialise once. References to entries stay
/// valid.
class ParameterStore {
 public:
  Parameter& add(std::string name, const Shape& shape, ParameterGroup group, Initialisation initialisation);
  StateTensor& add_state(std::string name, const Shape& shape, double initial);

  /// Allocates the buffers and initialises every parameter from Philox: parameter i draws from (seed, i), so
  /// its numbers depend on no other parameter. `working` is the storage dtype of activations: f32; bf16 or
  /// f16 for mixed precision, where weights (is_weight()) have a copy in that dtype and everything else stays
  /// f32; f64 for checks in double precision, where all is f64.
  void materialise(Context& context, std::uint64_t seed, DType working = DType::f32);

  /// The storage dtype of activations.
  DType working_dtype() const { return working_dtype_; }
  bool mixed() const { return working_values_.defined(); }
  /// After the values have been written by anybody but an optimizer: narrows them to the working copies.
  void refresh_working_values(Context& context);

  /// Trainable scalars: neither gaps nor what is frozen.
  std::int64_t count() const;
  std::deque<Parameter>& parameters() { return parameters_; }
  const std::deque<Parameter>& parameters() const { return parameters_; }
  std::deque<StateTensor>& state() { return state_; }
  const std::deque<StateTensor>& state() const { return state_; }
  const Tensor& flat_values() const { return values_; }
  const Tensor& flat_gradients() const { return gradients_; }
  /// In mixed precision, laid out as the values are, with only the working parameters in use; else undefined.
  const Tensor& flat_working_values() const { return working_values_; }
  const Tensor& flat_working_gradients() const { return working_gradients_; }
  /// All state, one tensor after the other, gaps included.
  const Tensor& flat_state() const { return state_values_; }
  /// u8, one entry for each kParameterSegment elements of the flat buffers, as FlatParameters has it. What is
  /// frozen forms a group of its own, kParameterGroups.
  const Tensor& group_of_segment() const { return group_of_segment_; }

 private:
  std::deque<Parameter> parameters_;
  std::deque<StateTensor> state_;
  std::int64_t flat_elements_ = 0, state_elements_ = 0;
  DType working_dtype_ = DType::f32;
  Tensor values_, gradients_, group_of_segment_, state_values_;
  Tensor working_values_, working_gradients_;
};

}  // namespace zeroth
