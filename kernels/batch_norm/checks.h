#pragma once

#include "kernels/batch_norm/batch_norm.h"

namespace zeroth {

// What batch norm, and what is fused with it, refuses: Error(usage) that names operation and operand.

void check_batch_norm(const char* operation, const BatchNormParams& params);
/// Training with one value a channel: its variance says nothing.
void check_enough_rows(const char* operation, const BatchNormParams& params);
/// (rows, C) and (N, H, W, C) are the same memory: the views are checked by size and last extent.
void check_rows(const char* operation, const char* operand, ConstTensorView view,
                const BatchNormParams& params);
void check_channels(const char* operation, const char* operand, ConstTensorView view,
                    const BatchNormParams& params);

}  // namespace zeroth
