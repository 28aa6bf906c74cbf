// Stands in for the CUDA rows where CUDA is left out of the build: rows that support nothing.

#include "kernels/absent_row.h"
#include "kernels/adamw/adamw.h"
#include "kernels/augment/augment.h"
#include "kernels/avg_pool/avg_pool.h"
#include "kernels/batch_norm_act/batch_norm_act.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d_stats/conv2d_stats.h"
#include "kernels/gradient_norm/gradient_norm.h"
#include "kernels/linear/linear.h"
#include "kernels/max_pool/max_pool.h"
#include "kernels/rank_sum/rank_sum.h"
#include "kernels/reduce/reduce.h"
#include "kernels/relu/relu.h"
#include "kernels/residual/residual.h"
#include "kernels/sgd/sgd.h"
#include "kernels/shortcut_a/shortcut_a.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "kernels/step_guard/step_guard.h"

namespace zeroth::cuda_native {

const Conv2dRow conv2d_row = absent_row<Conv2dRow>();
const Conv2dRow conv2d_mma_row = absent_row<Conv2dRow>("mma");
const Conv2dStatsRow conv2d_stats_row = absent_row<Conv2dStatsRow>("mma");
const BatchNormRow batch_norm_row = absent_row<BatchNormRow>();
const BatchNormActRow batch_norm_act_row = absent_row<BatchNormActRow>();
const ReluRow relu_row = absent_row<ReluRow>();
const ResidualRow residual_row = absent_row<ResidualRow>();
const ShortcutARow shortcut_a_row = absent_row<ShortcutARow>();
const LinearRow linear_row = absent_row<LinearRow>();
const AvgPoolRow avg_pool_row = absent_row<AvgPoolRow>();
const MaxPoolRow max_pool_row = absent_row<MaxPoolRow>();
const SoftmaxCrossEntropyRow softmax_cross_entropy_row = absent_row<SoftmaxCrossEntropyRow>();
const AugmentRow augment_row = absent_row<AugmentRow>();
const GradientNormRow gradient_norm_row = absent_row<GradientNormRow>();
const StepGuardRow step_guard_row = absent_row<StepGuardRow>();
const SgdRow sgd_row = absent_row<SgdRow>();
const AdamwRow adamw_row = absent_row<AdamwRow>();
const ReduceRow reduce_row = absent_row<ReduceRow>();
const RankSumRow rank_sum_row = absent_row<RankSumRow>();

}  // namespace zeroth::cuda_native
