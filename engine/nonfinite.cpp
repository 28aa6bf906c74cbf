#include "engine/nonfinite.h"

#include <fmt/format.h>

#include "kernels/reduce/reduce.h"

namespace zeroth {

namespace {

/// How many elements are infinite or NaN.
std::int64_t count_nonfinite(Context& context, const Tensor& tensor) {
  if (tensor.elements() == 0) return 0;
  const ReduceParams params{Reduction::count_nonfinite, tensor.elements(), tensor.dtype()};
  const Tensor result = Tensor::empty(context, {1}, statistics_dtype(tensor.dtype()));
  reduce_forward(context, params, tensor, result, context.scratch(reduce_workspace(context, params)));
  std::int64_t count = 0;
  dispatch_reference(result.dtype(), [&]<class T>(TypeTag<T>) {
    count = static_cast<std::int64_t>(result.to_host<T>(context)[0]);
  });
  return count;
}

std::string described(const std::string& what, std::int64_t bad, const Tensor& tensor) {
  return fmt::format("{} ({} of {} values)", what, bad, tensor.elements());
}

/// "layer1.0.conv1" of "layer1.0.conv1.weight".
std::string layer_of(const Parameter& parameter) {
  return parameter.name.substr(0, parameter.name.rfind('.'));
}

}  // namespace

std::string nonfinite_result(Context& context, const ParameterStore& store, const Tape& tape) {
  for (const Parameter& parameter : store.parameters())
    for (const Tensor* value : {&parameter.value, &parameter.working_value})
      if (const std::int64_t bad = count_nonfinite(context, *value); bad > 0)
        return described(fmt::format("the parameter '{}'", parameter.name), bad, *value);
  std::string before = "the pictures";
  for (const Tape::Result& result : tape.results()) {
    const std::string layer = result.parameter != nullptr ? layer_of(*result.parameter) : "";
    if (const std::int64_t bad = count_nonfinite(context, result.value); bad > 0)
      return described(
          layer.empty() ? fmt::format("what follows '{}'", before) : fmt::format("the output of '{}'", layer),
          bad, result.value);
    if (!layer.empty()) before = layer;
  }
  return "";
}

std::string nonfinite_gradient(Context& context, const ParameterStore& store) {
  const auto& parameters = store.parameters();
  for (auto parameter = parameters.rbegin(); parameter != parameters.rend(); ++parameter)
    if (const std::int64_t bad = count_nonfinite(context, parameter->working_gradient); bad > 0)
      return described(fmt::format("the gradient of '{}'", parameter->name), bad,
                       parameter->working_gradient);
  return "";
}

}  // namespace zeroth
