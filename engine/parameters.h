#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "kernels/core/flat_parameters.h"

namespace zeroth {

/// Parameters of a group share a learning rate and a weight decay.
enum class ParameterGroup : std::uint8_t { weight, bias, norm, alpha };
inline constexpr int kParameterGroups = 4;
const char* name_of(ParameterGroup group);

/// How a parameter begins.
struct Initialisation {
  enum class Kind : std::uint8_t { constant, normal, uniform } kind = Kind::constant;
  double value = 0.0;  ///< the constant; the standard deviation; the bound b of U(-b, b)

  static Initialisation constant(double value) { return {Kind::constant, value}; }
  /// Kaiming normal, fan in, gain sqrt 2 (He et al., "Delving deep into rectifiers", 2015): N(0, 2 / fan_in).
  static Initialisation kaiming_normal(std::int64_t fan_in);
  static Initialisation uniform(double bound) { return {Kind::uniform, bound}; }
};

struct Parameter;

/// Where parameters and gradients are while a step needs them, where they are not simply in the flat buffers:
/// several ranks that share a training (engine/parallel/data_parallel.h). Without one, everything stays.
class ParameterHome {
 public:
  virtual ~ParameterHome() = default;
  /// What operations read, in the working dtype: ask again for every operation.
  virtual Tensor value(Parameter& parameter) = 0;
  /// Where backward puts the gradient, of which nothing is known yet.
  virtual Tensor gradient(Parameter& parameter) = 0;
  /// Backward writes the gradient no more.
  virtual void finished(Parameter& parameter) = 0;
};

/// One trainable tensor: a slice of the flat value and gradient buffers.
struct Parameter {
  std::string name;
  Shape shape;
  ParameterGroup group;
  Initialisation initialisation;
  std::int64_t offset = 0;  ///< elements from the start of the flat buffers, a multiple of kParameterSegment
  std::size_t chunk = 0;    ///< the one that it lies in
  /// The f32 values that an optimizer updates, and their gradient; undefined where ranks hold parts of them.
  Tensor value, gradient;
  /// What operations read and write: in mixed precision the 16-bit copies of weights, otherwise `value` and
  /// `gradient` themselves.
  Tensor working_value, working_gradient;
  ParameterHome* home = nullptr;  ///< asked instead of the two above where there is one
};

/// How much of the parameters ranks share out instead of each holding all: what the one before does, and
/// more.
enum class Sharing : std::uint8_t { nothing, optimizer_state, gradients, values };

/// What lies in pinned host memory instead of on the device, and is updated by the CPU: moments and the
/// values that the optimizer updates; also all that a rank keeps of what operations read only now and then.
enum class Offload : std::uint8_t { nothing, optimizer, all };

/// What a rank of several holds of the parameters.
struct Residency {
  int rank = 0, ranks = 1;
  Sharing sharing = Sharing::nothing;
  std::int64_t chunk_bytes = 0;  ///< of weights, in what operations read; 0: all of them are one chunk
  double shared_values = 1.0;    ///< with Sharing::values: the fraction of the chunks of weights it is about
  Offload offload = Offload::nothing;
};

/// A range of the order of parameters, with whole parameters only, that ranks exchange as one. Rank r's own
/// part of it are the elements [r, r + 1) * (end - begin) / ranks, whole segments; the own parts of all
/// chunks, one behind the other, are the flat buffers of a rank that shares. Weights come first in the order
/// and everything else last, because in mixed precision operations see the one in 16 bits and the other in
/// f32.
struct Chunk {
  std::int64_t begin = 0, end = 0;  ///< elements of the order of parameters
  bool working = false;             ///< operations see 16-bit copies
  bool shares_values = false;       ///< no rank holds all of it outside of a step
  std::vector<Parameter*> parameters;
  /// (end - begin) what operations read and write, gaps zero; undefined where ranks share them.
  Tensor values, gradients;
  /// This rank's part of the values on the device, where it is not in the flat buffers.
  Tensor own_values;

  std::int64_t elements() const { return end - begin; }
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

/// All parameters and state of a network in one flat buffer each for values, gradients and state: weights in
/// the order in which they were added, then all other parameters. Add everything, then materialise once.
/// References to entries stay valid.
class ParameterStore {
 public:
  Parameter& add(std::string name, const Shape& shape, ParameterGroup group, Initialisation initialisation);
  StateTensor& add_state(std::string name, const Shape& shape, double initial);

  /// Allocates the buffers and initialises every parameter from Philox: parameter i draws from (seed, i), so
  /// its numbers depend on no other parameter. `working` is the storage dtype of activations: f32; bf16 or
  /// f16 for mixed precision, where the parameters of ParameterGroup::weight have a copy in that dtype and
  /// everything else stays f32; f64 for checks in double precision, where all is f64. One of several ranks
  /// holds what `residency` says.
  void materialise(Context& context, std::uint64_t seed, DType working = DType::f32,
                   const Residency& residency = {});

  /// The storage dtype of activations.
  DType working_dtype() const { return working_dtype_; }
  bool mixed() const { return working_values_.defined(); }
  /// After the values have been written by anybody but an optimizer: narrows them to the working copies.
  /// Where nothing is shared.
  void refresh_working_values(Context& context);

  const Residency& residency() const { return residency_; }
  /// Lays the parameters out in chunks and says what they would take, before anything is allocated.
  void lay_out(DType working, const Residency& residency);
  /// Whether the flat buffers hold this rank's own part of every chunk, not all.
  bool shares() const { return residency_.sharing != Sharing::nothing; }
  std::vector<Chunk>& chunks() { return chunks_; }
  const std::vector<Chunk>& chunks() const { return chunks_; }
  /// Elements of the order of parameters, gaps included: of the flat buffers times ranks where these share.
  std::int64_t elements() const { return elements_; }
  /// Fills values and their working copies from those of all parameters, in their order. (elements) of T, the
  /// dtype of values.
  template <class T>
  void set_values(Context& context, std::span<const T> values);
  /// What the flat buffers hold of a buffer of all elements: the same, or the own parts.
  template <class T>
  std::vector<T> own_part(std::span<const T> all, std::int64_t unit = 1) const;

  /// Trainable scalars, gaps not counted.
  std::int64_t count() const;
  std::deque<Parameter>& parameters() { return parameters_; }
  const std::deque<Parameter>& parameters() const { return parameters_; }
  std::deque<StateTensor>& state() { return state_; }
  const std::deque<StateTensor>& state() const { return state_; }
  /// What optimizers update and read: all elements, or this rank's own parts; values in pinned host memory
  /// where they are offloaded.
  const Tensor& flat_values() const { return values_; }
  const Tensor& flat_gradients() const { return gradients_; }
  /// In mixed precision, laid out as the values are, with only the working parameters in use; else undefined.
  const Tensor& flat_working_values() const { return working_values_; }
  const Tensor& flat_working_gradients() const { return working_gradients_; }
  /// All state, one tensor after the other, gaps included.
  const Tensor& flat_state() const { return state_values_; }
  /// u8, one entry for each kParameterSegment elements of the flat buffers, as FlatParameters has it.
  const Tensor& group_of_segment() const { return group_of_segment_; }

 private:
  void allocate(Context& context);
  void point_parameters();
  bool has_working_copy(const Parameter& parameter) const;

  std::deque<Parameter> parameters_;
  std::deque<StateTensor> state_;
  std::vector<Chunk> chunks_;
  Residency residency_;
  std::int64_t elements_ = 0, state_elements_ = 0;
  DType working_dtype_ = DType::f32;
  Tensor values_, gradients_, group_of_segment_, state_values_;
  Tensor working_values_, working_gradients_;
};

}  // namespace zeroth
