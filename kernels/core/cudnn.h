#pragma once

// cuDNN's graph API, called directly. A graph is operations over numbered tensors, each a Descriptor with
// attributes; candidates() asks cuDNN what can run it, build_plan() makes one of these ready to run,
// execute() runs it. cuDNN is opened when first used.

#include <cudnn_graph.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/core/context.h"
#include "kernels/core/cuda_libraries.h"

namespace zeroth::cudnn {

struct Functions {
  SharedLibrary library{kCudnn};
  ZEROTH_LIBRARY_FUNCTION(library, cudnnCreate);
  ZEROTH_LIBRARY_FUNCTION(library, cudnnDestroy);
  ZEROTH_LIBRARY_FUNCTION(library, cudnnGetVersion);
  ZEROTH_LIBRARY_FUNCTION(library, cudnnSetStream);
  ZEROTH_LIBRARY_FUNCTION(library, cudnnGetErrorString);
  ZEROTH_LIBRARY_FUNCTION(library, cudnnGetLastErrorString);
  ZEROTH_LIBRARY_FUNCTION(library, cudnnBackendCreateDescriptor);
  ZEROTH_LIBRARY_FUNCTION(library, cudnnBackendDestroyDescriptor);
  ZEROTH_LIBRARY_FUNCTION(library, cudnnBackendFinalize);
  ZEROTH_LIBRARY_FUNCTION(library, cudnnBackendSetAttribute);
  ZEROTH_LIBRARY_FUNCTION(library, cudnnBackendGetAttribute);
  ZEROTH_LIBRARY_FUNCTION(library, cudnnBackendExecute);
};

/// Throws Error(device) where cuDNN is missing.
const Functions& functions();

/// Throws Error(runtime) with `what`, the status and cuDNN's own words unless `status` is success.
void check(cudnnStatus_t status, std::string_view what);

/// What cuDNN calls the C++ type of an attribute's value.
template <class T>
struct AttributeType;  // not defined for types that are not listed here
template <>
struct AttributeType<std::int64_t> : std::integral_constant<cudnnBackendAttributeType_t, CUDNN_TYPE_INT64> {};
template <>
struct AttributeType<float> : std::integral_constant<cudnnBackendAttributeType_t, CUDNN_TYPE_FLOAT> {};
template <>
struct AttributeType<cudnnBackendKnobType_t>
    : std::integral_constant<cudnnBackendAttributeType_t, CUDNN_TYPE_KNOB_TYPE> {};
template <>
struct AttributeType<bool> : std::integral_constant<cudnnBackendAttributeType_t, CUDNN_TYPE_BOOLEAN> {};
template <>
struct AttributeType<char> : std::integral_constant<cudnnBackendAttributeType_t, CUDNN_TYPE_CHAR> {};
template <>
struct AttributeType<void*> : std::integral_constant<cudnnBackendAttributeType_t, CUDNN_TYPE_VOID_PTR> {};
template <>
struct AttributeType<cudnnHandle_t> : std::integral_constant<cudnnBackendAttributeType_t, CUDNN_TYPE_HANDLE> {
};
template <>
struct AttributeType<cudnnDataType_t>
    : std::integral_constant<cudnnBackendAttributeType_t, CUDNN_TYPE_DATA_TYPE> {};
template <>
struct AttributeType<cudnnConvolutionMode_t>
    : std::integral_constant<cudnnBackendAttributeType_t, CUDNN_TYPE_CONVOLUTION_MODE> {};
template <>
struct AttributeType<cudnnPointwiseMode_t>
    : std::integral_constant<cudnnBackendAttributeType_t, CUDNN_TYPE_POINTWISE_MODE> {};
template <>
struct AttributeType<cudnnBackendNormMode_t>
    : std::integral_constant<cudnnBackendAttributeType_t, CUDNN_TYPE_NORM_MODE> {};
template <>
struct AttributeType<cudnnBackendNormFwdPhase_t>
    : std::integral_constant<cudnnBackendAttributeType_t, CUDNN_TYPE_NORM_FWD_PHASE> {};
template <>
struct AttributeType<cudnnBackendHeurMode_t>
    : std::integral_constant<cudnnBackendAttributeType_t, CUDNN_TYPE_HEUR_MODE> {};

/// An attribute's name as the headers spell it, for messages.
template <auto kAttribute>
constexpr std::string_view attribute_name() {
  const std::string_view signature = __PRETTY_FUNCTION__;  // "... [with auto kAttribute = CUDNN_ATTR_..."
  const std::size_t begin = signature.find("CUDNN_ATTR_");
  return signature.substr(begin, signature.find_first_of(";]", begin) - begin);
}

/// A backend descriptor: created, given attributes, finalized, freed with its owner. Errors name the
/// attribute.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    reset();
    raw_ = std::exchange(other.raw_, nullptr);
    return *this;
  }

  template <auto kAttribute, class T>
  Descriptor& set(const T& value) {
    set_raw(kAttribute, attribute_name<kAttribute>(), AttributeType<T>::value, 1, &value);
    return *this;
  }
  template <auto kAttribute>
  Descriptor& set(const Descriptor& value) {
    set_raw(kAttribute, attribute_name<kAttribute>(), CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.raw_);
    return *this;
  }
  /// Numbers, as dimensions and strides are.
  template <auto kAttribute>
  Descriptor& set(std::initializer_list<std::int64_t> values) {
    return set_all<kAttribute>(std::span<const std::int64_t>(values.begin(), values.size()));
  }
  template <auto kAttribute, class T>
  Descriptor& set_all(std::span<const T> values) {
    set_raw(kAttribute, attribute_name<kAttribute>(), AttributeType<T>::value, std::ssize(values),
            values.data());
    return *this;
  }
  Descriptor& set_operations(std::span<const Descriptor> operations);

  /// Throws Error(runtime) where cuDNN refuses what the attributes say.
  Descriptor& finalize();

  cudnnBackendDescriptor_t raw() const { return raw_; }

 private:
  void set_raw(cudnnBackendAttributeName_t attribute, std::string_view name, cudnnBackendAttributeType_t type,
               std::int64_t count, const void* values);
  void reset() noexcept;

  cudnnBackendDescriptor_t raw_ = nullptr;
};

/// The data type that cuDNN stores a floating dtype in.
cudnnDataType_t data_type(DType dtype);

/// A tensor of NHWC layout that is bound to memory when a plan runs, under this number.
Descriptor tensor(std::int64_t number, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c,
                  DType dtype);
/// An f32 number that lies in host memory when a plan runs.
Descriptor host_number(std::int64_t number);
/// An f32 tensor between two operations, never in memory.
Descriptor intermediate(std::int64_t number, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c);

/// The GPU that plans are made for: the one of a handle, or one that is only described, by its properties as
/// cuDNN writes them in JSON. A described one needs neither GPU nor driver; its plans do not run.
class Target {
 public:
  explicit Target(cudnnHandle_t handle) : handle_(handle) {}
  explicit Target(std::string_view device_json);

  /// Tells a graph, a query for engines or a plan what GPU it is for.
  void apply_to_graph(Descriptor& graph) const;
  void apply_to_heuristics(Descriptor& heuristics) const;
  void apply_to_plan(Descriptor& plan) const;
  bool described() const { return device_.has_value(); }

 private:
  cudnnHandle_t handle_ = nullptr;
  std::optional<Descriptor> device_;
};

/// The operations as a graph for this GPU.
Descriptor operation_graph(const Target& target, std::span<const Descriptor> operations);

/// A plan may want this much memory for itself.
inline constexpr std::size_t kMostWorkspace = std::size_t{256} << 20;

/// An engine and its settings that may run a graph.
struct Candidate {
  Descriptor engine_config;
  std::size_t workspace;  ///< bytes that a plan of it needs
};

/// What may run a graph within kMostWorkspace, in cuDNN's order of preference, its fallbacks last. Left out
/// are engines whose bits differ from run to run, that round their inputs to a smaller type, that sum in less
/// than f32, or that go through Fourier or Winograd transforms, whose errors are larger than those of sums;
/// and, unless `tensor_cores`, those that use tensor cores, which for f32 means TF32. Takes tens of
/// milliseconds.
std::vector<Candidate> candidates(const Target& target, const Descriptor& graph, bool tensor_cores);

/// Something that runs a graph.
struct Plan {
  Descriptor engine_config, execution_plan;
  std::size_t workspace = 0;  ///< bytes it needs
};

/// Makes a candidate ready to run: nothing where the engine, once asked, refuses the graph. For a described
/// GPU an engine that compiles its kernel at run time counts as soon as that is compiled: only the driver,
/// which is not there, could load it. Takes a millisecond; a second or more where a kernel is compiled.
std::optional<Plan> build_plan(const Target& target, Candidate candidate);

/// The first candidate that can be built. Throws Error(runtime) naming `problem` where there is none.
Plan first_plan(const Target& target, std::vector<Candidate> candidates, const std::string& problem);

/// A candidate's engine and the values of its knobs: "12 2=1 14=3". Different for all candidates of a
/// problem, and the same in every process, for one version of cuDNN on one kind of GPU.
std::string describe(const Descriptor& engine_config);

/// A problem on its way to a plan, for rows that keep one of these for each problem.
struct PlanChoice {
  std::vector<Candidate> candidates;  ///< until a plan is chosen
  std::optional<Plan> plan;
  std::size_t workspace = 0;  ///< bytes that the plan, or any that may be chosen, needs

  PlanChoice() = default;
  /// Takes a plan already where none is to be timed: where the context keeps no record of timed plans, where
  /// the record has one for `problem`, and where nothing can be timed, because work is captured or waited
  /// for.
  PlanChoice(Context& context, std::vector<Candidate> all, const std::string& problem);
};

/// Takes the fastest plan of a choice that has none. `run` queues a plan with operands of the problem's
/// shapes; it may be called often, so results go where they do no harm. Runs are timed as captured graphs of
/// several, so that the time that queueing takes does not count.
void settle(Context& context, PlanChoice& choice, const std::string& problem,
            const std::function<void(const Plan&)>& run);

/// cuDNN's handle on a context's device and stream.
cudnnHandle_t handle_of(Context& context);

/// A tensor's number, and where it lies: in device memory, or a host number in the host's.
struct Binding {
  std::int64_t number;
  const void* data;
};

/// Queues the plan on the context's stream. The workspace has at least plan.workspace bytes.
void execute(Context& context, const Plan& plan, std::initializer_list<Binding> tensors, Workspace workspace);

}  // namespace zeroth::cudnn
