#include "models/problems.h"

#include <fmt/format.h>

#include <algorithm>

namespace zeroth {

namespace {

/// Walks a network as its forward pass does, `at` being the shape of the activation.
class Walk {
 public:
  Walk(const ResNetConfig& config, std::int64_t batch, DType dtype)
      : config_(config), dtype_(dtype), at_{batch, config.height, config.width, config.picture_channels} {}

  std::vector<ProblemCount> problems() && {
    const bool imagenet = config_.stem == Stem::imagenet;
    conv(at_, config_.channels.front(), imagenet ? 7 : 3, imagenet ? 2 : 1, InputGradient::none);
    norm_act(Epilogue::relu);
    if (imagenet) {
      const MaxPoolParams pool{at_[0], at_[1], at_[2], at_[3], 3, 2, 1, dtype_};
      add(pool);
      at_ = pool.y_shape();
    }
    for (std::size_t stage = 0; stage < config_.blocks.size(); ++stage)
      for (int index = 0; index < config_.blocks[stage]; ++index)
        block(config_.channels[stage], stage > 0 && index == 0 ? 2 : 1);
    add(AvgPoolParams{at_[0], at_[1], at_[2], at_[3], dtype_});
    add(LinearParams{at_[0], at_[3], config_.classes, dtype_});
    add(SoftmaxCrossEntropyParams{.n = at_[0], .k = config_.classes, .dtype = dtype_});
    return std::move(problems_);
  }

 private:
  /// What backward does with the gradient of a layer's input: a block's shortcut, which is joined last, has
  /// written it before the block's first layer does, or the other way round where the shape changes.
  enum class InputGradient { overwrite, accumulate, none };

  void add(const Problem& problem, InputGradient gradient = InputGradient::overwrite) {
    const std::string name = to_string(problem);
    auto same = std::find_if(problems_.begin(), problems_.end(),
                             [&](const ProblemCount& known) { return to_string(known.problem) == name; });
    if (same == problems_.end()) same = problems_.insert(same, ProblemCount{problem, 0});
    ProblemCount& counted = *same;
    ++counted.count;
    if (gradient == InputGradient::accumulate) ++counted.accumulating;
    if (gradient == InputGradient::none) ++counted.first;
  }
  void conv(Shape& at, std::int64_t channels, std::int64_t window, std::int64_t stride,
            InputGradient gradient = InputGradient::overwrite) {
    const Conv2dParams params{at[0],  at[1],  at[2],  at[3],      channels,
                              window, window, stride, window / 2, dtype_};
    add(params, gradient);
    at = params.y_shape();
  }
  BatchNormParams norm(const Shape& at) const {
    return {.rows = at[0] * at[1] * at[2], .channels = at[3], .dtype = dtype_};
  }
  void norm_act(Epilogue epilogue) { add(BatchNormActParams{norm(at_), epilogue}); }
  void block(std::int64_t channels, std::int64_t stride) {
    Shape shortcut = at_;
    const bool changes_shape = stride != 1 || at_[3] != channels;
    if (changes_shape && config_.shortcut == ShortcutKind::b) {
      conv(shortcut, channels, 1, stride, InputGradient::accumulate);
      add(norm(shortcut));
    } else if (changes_shape) {
      add(ShortcutAParams{shortcut[0], shortcut[1], shortcut[2], shortcut[3], channels, dtype_},
          InputGradient::accumulate);
    }
    conv(at_, channels, 3, stride, changes_shape ? InputGradient::overwrite : InputGradient::accumulate);
    norm_act(Epilogue::relu);
    conv(at_, channels, 3, 1);
    norm_act(epilogue_of(config_.form));
  }

  const ResNetConfig& config_;
  DType dtype_;
  Shape at_;
  std::vector<ProblemCount> problems_;
};

}  // namespace

const char* operation_of(const Problem& problem) {
  static constexpr const char* names[] = {
      "conv2d",   "batch_norm", "batch_norm_act", "shortcut_a",
      "max_pool", "avg_pool",   "linear",         "softmax_cross_entropy"};
  static_assert(std::size(names) == std::variant_size_v<Problem>);
  return names[problem.index()];
}

Problem with_batch(const Problem& problem, std::int64_t batch, std::int64_t new_batch) {
  return std::visit(
      [&]<class Params>(Params params) -> Problem {
        if constexpr (std::is_base_of_v<BatchNormParams, Params>)
          params.rows = params.rows / batch * new_batch;
        else
          params.n = params.n / batch * new_batch;
        return params;
      },
      problem);
}

std::string to_string(const Problem& problem) {
  return std::visit(
      [&](const auto& params) { return fmt::format("{} {}", operation_of(problem), params.to_string()); },
      problem);
}

std::vector<ProblemCount> problems_of(const ResNetConfig& config, std::int64_t batch, DType dtype) {
  return Walk(config, batch, dtype).problems();
}

}  // namespace zeroth
