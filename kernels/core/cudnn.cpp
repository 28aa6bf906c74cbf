#include "kernels/core/cudnn.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

namespace zeroth::cudnn {

namespace {

/// cuDNN's account of the last failure in this thread.
std::string last_error() {
  std::array<char, 512> text{};
  functions().cudnnGetLastErrorString(text.data(), text.size());
  return text.data();
}

/// A handle for as long as a Context lives.
class Handle {
 public:
  Handle() { check(functions().cudnnCreate(&raw_), "cudnnCreate"); }
  ~Handle() { functions().cudnnDestroy(raw_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  cudnnHandle_t raw() const { return raw_; }

 private:
  cudnnHandle_t raw_ = nullptr;
};

/// An attribute that is one value.
template <auto kAttribute, class T>
T get(const Descriptor& from) {
  T value{};
  std::int64_t count = 0;
  check(functions().cudnnBackendGetAttribute(from.raw(), kAttribute, AttributeType<T>::value, 1, &count,
                                             &value),
        attribute_name<kAttribute>());
  return value;
}

/// An attribute that is a number of bytes.
template <auto kAttribute>
std::size_t get_bytes(const Descriptor& from) {
  return static_cast<std::size_t>(get<kAttribute, std::int64_t>(from));
}

/// An attribute that is a list of descriptors.
template <auto kAttribute>
std::vector<Descriptor> get_descriptors(const Descriptor& from, cudnnBackendDescriptorType_t type,
                                        std::int64_t count) {
  constexpr std::string_view kName = attribute_name<kAttribute>();
  std::vector<Descriptor> results;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (std::int64_t i = 0; i < count; ++i) raw.push_back(results.emplace_back(type).raw());
  check(functions().cudnnBackendGetAttribute(from.raw(), kAttribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, count,
                                             &count, raw.data()),
        kName);
  results.erase(results.begin() + count, results.end());  // fewer may come than there is room for
  return results;
}

/// How many descriptors an attribute announces. Not every attribute does.
template <auto kAttribute>
std::int64_t count_descriptors(const Descriptor& from) {
  std::int64_t count = 0;
  check(functions().cudnnBackendGetAttribute(from.raw(), kAttribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count,
                                             nullptr),
        attribute_name<kAttribute>());
  return count;
}

Descriptor engine_of(const Descriptor& engine_config) {
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t raw = engine.raw();
  std::int64_t count = 0;
  check(functions().cudnnBackendGetAttribute(engine_config.raw(), CUDNN_ATTR_ENGINECFG_ENGINE,
                                             CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &raw),
        attribute_name<CUDNN_ATTR_ENGINECFG_ENGINE>());
  return engine;
}

/// Whether an engine keeps to what candidates() promises.
bool allowed(const Descriptor& engine_config, bool tensor_cores) {
  const Descriptor engine = engine_of(engine_config);
  std::int64_t count = 0;
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes{};
  check(functions().cudnnBackendGetAttribute(engine.raw(), CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                             CUDNN_TYPE_NUMERICAL_NOTE, std::ssize(notes), &count,
                                             notes.data()),
        attribute_name<CUDNN_ATTR_ENGINE_NUMERICAL_NOTE>());
  return std::all_of(notes.begin(), notes.begin() + count, [&](cudnnBackendNumericalNote_t note) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
        return tensor_cores;
      case CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP:
        return true;
      default:
        return false;
    }
  });
}

Descriptor nhwc(std::int64_t number, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c,
                cudnnDataType_t type) {
  Descriptor result(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  result.set<CUDNN_ATTR_TENSOR_UNIQUE_ID>(number)
      .set<CUDNN_ATTR_TENSOR_DATA_TYPE>(type)
      .set<CUDNN_ATTR_TENSOR_DIMENSIONS>({n, c, h, w})
      .set<CUDNN_ATTR_TENSOR_STRIDES>({h * w * c, 1, w * c, c})
      .set<CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT>(std::int64_t{kOperandAlignment});
  return result;
}

}  // namespace

const Functions& functions() {
  static const Functions functions;  // tried again by the next caller when it throws
  return functions;
}

void check(cudnnStatus_t status, std::string_view what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  fail(ErrorKind::runtime,
       fmt::format("cuDNN: {}: {} ({})", what, functions().cudnnGetErrorString(status), last_error()));
}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  check(functions().cudnnBackendCreateDescriptor(type, &raw_), "cudnnBackendCreateDescriptor");
}

void Descriptor::reset() noexcept {
  if (raw_ != nullptr) functions().cudnnBackendDestroyDescriptor(raw_);
  raw_ = nullptr;
}

void Descriptor::set_raw(cudnnBackendAttributeName_t attribute, std::string_view name,
                         cudnnBackendAttributeType_t type, std::int64_t count, const void* values) {
  check(functions().cudnnBackendSetAttribute(raw_, attribute, type, count, values), name);
}

Descriptor& Descriptor::set_operations(std::span<const Descriptor> operations) {
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const Descriptor& operation : operations) raw.push_back(operation.raw());
  set_raw(CUDNN_ATTR_OPERATIONGRAPH_OPS, attribute_name<CUDNN_ATTR_OPERATIONGRAPH_OPS>(),
          CUDNN_TYPE_BACKEND_DESCRIPTOR, std::ssize(raw), raw.data());
  return *this;
}

Descriptor& Descriptor::finalize() {
  check(functions().cudnnBackendFinalize(raw_), "cudnnBackendFinalize");
  return *this;
}

cudnnDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return CUDNN_DATA_FLOAT;
    case DType::f16:
      return CUDNN_DATA_HALF;
    case DType::bf16:
      return CUDNN_DATA_BFLOAT16;
    default:
      fail(ErrorKind::usage, std::string("cuDNN: no f32, bf16 or f16 tensor: ") + name_of(dtype));
  }
}

Descriptor tensor(std::int64_t number, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c,
                  DType dtype) {
  return std::move(nhwc(number, n, h, w, c, data_type(dtype)).finalize());
}

Descriptor host_number(std::int64_t number) {
  return std::move(
      nhwc(number, 1, 1, 1, 1, CUDNN_DATA_FLOAT).set<CUDNN_ATTR_TENSOR_IS_BY_VALUE>(true).finalize());
}

Descriptor intermediate(std::int64_t number, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) {
  return std::move(
      nhwc(number, n, h, w, c, CUDNN_DATA_FLOAT).set<CUDNN_ATTR_TENSOR_IS_VIRTUAL>(true).finalize());
}

Target::Target(std::string_view device_json) : device_(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR) {
  device_
      ->set_all<CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION>(std::span(device_json.data(), device_json.size()))
      .finalize();
}

// cuDNN wants the handle in graph and plan, a description in the query and in the plan.

void Target::apply_to_graph(Descriptor& graph) const {
  if (!device_) graph.set<CUDNN_ATTR_OPERATIONGRAPH_HANDLE>(handle_);
}

void Target::apply_to_heuristics(Descriptor& heuristics) const {
  if (device_) heuristics.set<CUDNN_ATTR_ENGINEHEUR_DEVICEPROP>(*device_);
}

void Target::apply_to_plan(Descriptor& plan) const {
  if (device_)
    plan.set<CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP>(*device_);
  else
    plan.set<CUDNN_ATTR_EXECUTION_PLAN_HANDLE>(handle_);
}

Descriptor operation_graph(const Target& target, std::span<const Descriptor> operations) {
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  target.apply_to_graph(graph);
  graph.set_operations(operations).finalize();
  return graph;
}

std::string describe(const Descriptor& engine_config) {
  std::vector<std::string> knobs;
  for (const Descriptor& knob : get_descriptors<CUDNN_ATTR_ENGINECFG_KNOB_CHOICES>(
           engine_config, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS))
    knobs.push_back(fmt::format(
        " {}={}", static_cast<int>(get<CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, cudnnBackendKnobType_t>(knob)),
        get<CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, std::int64_t>(knob)));
  std::sort(knobs.begin(), knobs.end());
  return fmt::format("{}{}", get<CUDNN_ATTR_ENGINE_GLOBAL_INDEX, std::int64_t>(engine_of(engine_config)),
                     fmt::join(knobs, ""));
}

std::vector<Candidate> candidates(const Target& target, const Descriptor& graph, bool tensor_cores) {
  std::vector<Candidate> result;
  std::set<std::string> offered;
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set<CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH>(graph).set<CUDNN_ATTR_ENGINEHEUR_MODE>(mode);
    target.apply_to_heuristics(heuristics);
    // Some kinds of graph are unknown to one mode or the other, which it says by failing.
    if (functions().cudnnBackendFinalize(heuristics.raw()) != CUDNN_STATUS_SUCCESS) continue;
    for (Descriptor& config : get_descriptors<CUDNN_ATTR_ENGINEHEUR_RESULTS>(
             heuristics, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
             count_descriptors<CUDNN_ATTR_ENGINEHEUR_RESULTS>(heuristics))) {
      // The fallbacks may repeat what was offered before.
      if (!allowed(config, tensor_cores) || !offered.insert(describe(config)).second) continue;
      const std::size_t workspace = get_bytes<CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE>(config);
      if (workspace <= kMostWorkspace) result.push_back({std::move(config), workspace});
    }
  }
  return result;
}

std::optional<Plan> build_plan(const Target& target, Candidate candidate) {
  Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  plan.set<CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG>(candidate.engine_config);
  target.apply_to_plan(plan);
  const cudnnStatus_t status = functions().cudnnBackendFinalize(plan.raw());
  const bool compiled = target.described() && status == CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER;
  if (status != CUDNN_STATUS_SUCCESS && !compiled) return std::nullopt;
  if (!compiled && get_bytes<CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE>(plan) > candidate.workspace)
    return std::nullopt;  // callers have relied on what the candidate said
  return Plan{std::move(candidate.engine_config), std::move(plan), candidate.workspace};
}

Plan first_plan(const Target& target, std::vector<Candidate> candidates, const std::string& problem) {
  for (Candidate& candidate : candidates)
    if (std::optional<Plan> plan = build_plan(target, std::move(candidate))) return std::move(*plan);
  const std::string last = candidates.empty() ? "" : ", the last because: " + last_error();
  fail(ErrorKind::runtime, fmt::format("cuDNN: none of {} engines takes {}{}; choose another row with --impl",
                                       candidates.size(), problem, last));
}

cudnnHandle_t handle_of(Context& context) {
  const Handle& handle = context.state<Handle>();
  check(functions().cudnnSetStream(handle.raw(), static_cast<cudaStream_t>(context.stream().handle)),
        "cudnnSetStream");
  return handle.raw();
}

void execute(Context& context, const Plan& plan, std::initializer_list<Binding> tensors,
             Workspace workspace) {
  std::vector<std::int64_t> numbers;
  std::vector<void*> data;
  for (const Binding& binding : tensors) {
    numbers.push_back(binding.number);
    data.push_back(const_cast<void*>(binding.data));
  }
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set_all<CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS>(std::span<const std::int64_t>(numbers))
      .set_all<CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS>(std::span<void* const>(data))
      .set<CUDNN_ATTR_VARIANT_PACK_WORKSPACE>(workspace.data)
      .finalize();
  check(functions().cudnnBackendExecute(handle_of(context), plan.execution_plan.raw(), pack.raw()),
        "cudnnBackendExecute");
  if (context.stream().synchronous) context.synchronize();
}

}  // namespace zeroth::cudnn
