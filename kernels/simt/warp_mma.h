#pragma once

// Host bodies of the tensor core wrappers in kernels/core/mma.cuh.

#include <cstdint>

#include "kernels/simt/runtime.h"

namespace zeroth::simt {

using ToFloat = float (*)(std::uint16_t bits);

/// c += a b for the fragments of all 32 lanes; (16, 16) times (16, 8).
void mma_m16n8k16(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], ToFloat to_float,
                  Site site);

/// A row of an 8 x 8 matrix. Passed by value, so that the kernel's own line reads shared memory and is named
/// when that is wrong.
struct alignas(16) MatrixRow {
  std::uint16_t element[8];
};

void load_matrices_x4(std::uint32_t (&reg)[4], MatrixRow row, bool transposed, Site site);

}  // namespace zeroth::simt
