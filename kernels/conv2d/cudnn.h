#pragma once

#include <string>

#include "kernels/conv2d/conv2d.h"
#include "kernels/core/cudnn.h"

namespace zeroth::cudnn {

/// One pass of one convolution: what a plan is made for.
struct ConvolutionProblem {
  Conv2dParams params;
  Conv2dPass pass;
  GradMode mode = GradMode::overwrite;
  bool tf32 = false;  ///< whether products of f32 may be rounded to TF32

  std::string to_string() const;
  bool operator==(const ConvolutionProblem&) const = default;
};

/// What may run the problem on a GPU, best first.
std::vector<Candidate> convolution_candidates(const Target& target, const ConvolutionProblem& problem);

}  // namespace zeroth::cudnn
