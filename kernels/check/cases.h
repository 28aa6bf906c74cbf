#pragma once

// Every operation's cases. They are data without a test framework: tests and zeroth bench run them.

#include <vector>

#include "kernels/avg_pool/avg_pool.h"
#include "kernels/batch_norm_act/batch_norm_act.h"
#include "kernels/check/kernel_case.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/linear/linear.h"
#include "kernels/max_pool/max_pool.h"
#include "kernels/shortcut_a/shortcut_a.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace zeroth::check {

std::vector<KernelCase> relu_cases();
std::vector<KernelCase> gelu_cases();
std::vector<KernelCase> batch_norm_cases();
std::vector<KernelCase> batch_norm_act_cases();
std::vector<KernelCase> residual_cases();
std::vector<KernelCase> shortcut_a_cases();
std::vector<KernelCase> avg_pool_cases();
std::vector<KernelCase> max_pool_cases();
std::vector<KernelCase> conv2d_cases();
std::vector<KernelCase> linear_cases();

/// The convolutions that conv2d_cases() computes, storage dtype left open.
std::span<const Conv2dParams> conv2d_problems();

// The calls of a training step for one problem.
std::vector<KernelCase> cases_of(const BatchNormParams& params);
std::vector<KernelCase> cases_of(const BatchNormActParams& params);
std::vector<KernelCase> cases_of(const ShortcutAParams& params);
std::vector<KernelCase> cases_of(const AvgPoolParams& params);
std::vector<KernelCase> cases_of(const MaxPoolParams& params);
std::vector<KernelCase> cases_of(const Conv2dParams& params);
std::vector<KernelCase> cases_of(const LinearParams& params);
std::vector<KernelCase> cases_of(const SoftmaxCrossEntropyParams& params);

}  // namespace zeroth::check
