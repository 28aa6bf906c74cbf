#pragma once

#include <cstdint>

namespace zeroth {

/// How much of each picture a step of mixup keeps: lambda from Beta(alpha, alpha), and 1 - lambda where that
/// is more. As pictures are mixed in pairs, both give the same mixtures, in other rows; the larger one makes
/// the first label the one that counts as correct. In [0.5, 1], a function of its arguments alone; alpha > 0.
double mixup_share(double alpha, std::uint64_t seed, std::int64_t step);

}  // namespace zeroth
