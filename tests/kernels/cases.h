#pragma once

// Every operation's cases. They are data without a test framework, so that benchmarks can run them, too.

#include <vector>

#include "tests/kernels/kernel_case.h"

namespace zeroth::testing {

std::vector<KernelCase> relu_cases();
std::vector<KernelCase> batch_norm_cases();
std::vector<KernelCase> residual_cases();
std::vector<KernelCase> shortcut_a_cases();
std::vector<KernelCase> avg_pool_cases();
std::vector<KernelCase> max_pool_cases();
std::vector<KernelCase> conv2d_cases();
std::vector<KernelCase> linear_cases();

}  // namespace zeroth::testing
