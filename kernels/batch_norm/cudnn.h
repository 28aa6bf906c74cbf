#pragma once

#include <string>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/core/cudnn.h"

namespace zeroth::cudnn {

enum class NormPass { training, inference, backward };

/// One pass of one batch norm: what a plan is made for. eps and momentum are operands.
struct NormProblem {
  std::int64_t rows, channels;
  DType dtype;
  NormPass pass;

  NormProblem(const BatchNormParams& params, NormPass which)
      : rows(params.rows), channels(params.channels), dtype(params.dtype), pass(which) {}
  std::string to_string() const;
  auto operator<=>(const NormProblem&) const = default;
};

/// What may run the problem on a GPU, best first.
std::vector<Candidate> norm_candidates(const Target& target, const NormProblem& problem);

}  // namespace zeroth::cudnn
