// Stands in for the CUDA rows and device where CUDA is left out of the build: rows that support nothing, a
// backend that says so.

#include "kernels/adamw/adamw.h"
#include "kernels/augment/augment.h"
#include "kernels/avg_pool/avg_pool.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/core/device.h"
#include "kernels/core/error.h"
#include "kernels/linear/linear.h"
#include "kernels/max_pool/max_pool.h"
#include "kernels/reduce/reduce.h"
#include "kernels/relu/relu.h"
#include "kernels/residual/residual.h"
#include "kernels/sgd/sgd.h"
#include "kernels/shortcut_a/shortcut_a.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace zeroth::cuda_native {

namespace {

/// A row of the right type that takes no problem; its other functions are null and never reached.
template <class RowType>
constexpr RowType absent_row() {
  RowType row{};
  row.name = "native";
  row.device = DeviceKind::cuda;
  row.supports = [](auto...) { return false; };
  return row;
}

}  // namespace

const Conv2dRow conv2d_row = absent_row<Conv2dRow>();
const BatchNormRow batch_norm_row = absent_row<BatchNormRow>();
const ReluRow relu_row = absent_row<ReluRow>();
const ResidualRow residual_row = absent_row<ResidualRow>();
const ShortcutARow shortcut_a_row = absent_row<ShortcutARow>();
const LinearRow linear_row = absent_row<LinearRow>();
const AvgPoolRow avg_pool_row = absent_row<AvgPoolRow>();
const MaxPoolRow max_pool_row = absent_row<MaxPoolRow>();
const SoftmaxCrossEntropyRow softmax_cross_entropy_row = absent_row<SoftmaxCrossEntropyRow>();
const AugmentRow augment_row = absent_row<AugmentRow>();
const SgdRow sgd_row = absent_row<SgdRow>();
const AdamwRow adamw_row = absent_row<AdamwRow>();
const ReduceRow reduce_row = absent_row<ReduceRow>();

const DeviceBackend& device_backend() {
  fail(
      ErrorKind::device,
      "this build of zeroth has no CUDA: install the CUDA toolkit and configure again with -DZEROTH_CUDA=ON");
}

}  // namespace zeroth::cuda_native
