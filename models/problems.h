#pragma once

#include <string>
#include <variant>
#include <vector>

#include "kernels/avg_pool/avg_pool.h"
#include "kernels/batch_norm_act/batch_norm_act.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/linear/linear.h"
#include "kernels/max_pool/max_pool.h"
#include "kernels/shortcut_a/shortcut_a.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "models/resnet.h"

namespace zeroth {

/// What one operation has to compute in a training step.
using Problem = std::variant<Conv2dParams, BatchNormParams, BatchNormActParams, ShortcutAParams,
                             MaxPoolParams, AvgPoolParams, LinearParams, SoftmaxCrossEntropyParams>;

struct ProblemCount {
  Problem problem;
  int count;             ///< how often it occurs in a forward pass
  int accumulating = 0;  ///< in how many of these backward adds to the gradient of its input, which another
                         ///< layer has written
  int first = 0;         ///< in how many of these the input is the pictures, which want no gradient
};

/// "conv2d 128x32x32x16 * 16x3x3 /1 +1 f32"
std::string to_string(const Problem& problem);

/// The same problem for another number of pictures.
Problem with_batch(const Problem& problem, std::int64_t batch, std::int64_t new_batch);

/// The operation's name, as --impl takes it.
const char* operation_of(const Problem& problem);

/// Every different problem of a training step of a network on batches of this size, in the order in which the
/// forward pass meets them: the shapes to test and to time operations on.
std::vector<ProblemCount> problems_of(const ResNetConfig& config, std::int64_t batch,
                                      DType dtype = DType::f32);

}  // namespace zeroth
