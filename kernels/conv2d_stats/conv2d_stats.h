#pragma once

#include <span>

#include "kernels/conv2d/conv2d.h"

namespace zeroth {

/// What happens to the input of a convolution on its way in.
enum class Prologue : std::uint8_t {
  none,             ///< u = x
  batch_norm_relu,  ///< u = relu((x - x_mean) / sqrt(x_variance + eps) * gamma + beta), channel by channel
};

const char* name_of(Prologue prologue);

/// A convolution between two batch norms, as one operation:
///   u = prologue(x),  y = conv2d(u, w),
///   mean, variance = the biased moments of y as it is stored, over all pixels of a channel
/// u is rounded to the storage dtype, and 0 outside the picture; it is never written. x, w, y: as conv2d.h
/// says. x_mean, x_variance, gamma, beta: (C), absent for Prologue::none; mean, variance: (K); all in the
/// statistics dtype. The variance comes from sums of squared deviations. n > 0.
///
/// Such moments are what batch_norm_act_forward_inference() takes as running moments, so that the batch norm
/// behind this convolution needs no pass of its own over y; and they are x_mean and x_variance of the next
/// convolution. There is no backward: y's gradient already contains what went through the moments (batch
/// norm's backward), and goes through conv2d's.
struct Conv2dStatsParams : Conv2dParams {
  Prologue prologue = Prologue::none;
  double eps = 1e-5;  ///< of the prologue
  std::string to_string() const;
};

struct Conv2dStatsOperands {
  ConstTensorView x, w;
  ConstTensorView x_mean = {}, x_variance = {}, gamma = {}, beta = {};
  TensorView y, mean, variance;
};

struct Conv2dStatsRow : Row {
  bool (*supports)(const Conv2dStatsParams&);
  std::size_t (*workspace)(Context&, const Conv2dStatsParams&);
  void (*forward)(Context&, const Conv2dStatsParams&, const Conv2dStatsOperands&, Workspace);
};

/// Every implementation, in order of preference.
std::span<const Conv2dStatsRow> conv2d_stats_rows();

namespace reference {
extern const Conv2dStatsRow conv2d_stats_row;
}
namespace simt_native {
extern const Conv2dStatsRow conv2d_stats_row;
}
namespace cuda_native {
extern const Conv2dStatsRow conv2d_stats_row;
}

std::size_t conv2d_stats_workspace(Context& context, const Conv2dStatsParams& params);

void conv2d_stats_forward(Context& context, const Conv2dStatsParams& params,
                          const Conv2dStatsOperands& operands, Workspace workspace);

}  // namespace zeroth
