#include <algorithm>
#include <limits>

#include "kernels/core/parallel.h"
#include "kernels/gradient_norm/gradient_norm.h"

namespace zeroth::cpu {

namespace {

/// The unit of parallel work, in segments. Where pieces begin depends on the size alone, so the result does
/// not depend on the number of threads.
constexpr std::int64_t kPiece = 256;
/// Independent sums, so that vector units can hold them.
constexpr std::int64_t kLanes = 16;
static_assert(kParameterSegment % kLanes == 0);

struct Partial {
  double sum;
  std::int32_t bad_segment;
};

std::int64_t segments(const FlatParams& params) {
  return params.elements / kParameterSegment;
}

std::int64_t pieces(const FlatParams& params) {
  return (segments(params) + kPiece - 1) / kPiece;
}

/// Not finite where an element is not: f32 squares do not overflow in f64.
template <class T>
double sum_of_squares(const T* gradients) {
  double lanes[kLanes] = {};
  for (std::int64_t i = 0; i < kParameterSegment; i += kLanes)
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const double g = to_compute(gradients[i + lane]);
      lanes[lane] += g * g;
    }
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

bool supports(const FlatParams& params) {
  return params.dtype == DType::f32;
}

std::size_t workspace(Context&, const FlatParams& params) {
  return static_cast<std::size_t>(pieces(params)) * sizeof(Partial);
}

template <class W>
Partial measure_piece(const FlatParameters& parameters, std::int64_t begin, std::int64_t end) {
  const std::uint8_t* group_of_segment = parameters.group_of_segment.as<std::uint8_t>();
  Partial result{0.0, kNoSegment};
  for (std::int64_t segment = begin; segment < end; ++segment) {
    const std::int64_t first = segment * kParameterSegment;
    double sum = 0.0;
    bool working = false;
    if constexpr (!std::is_void_v<W>) {
      working = group_of_segment[segment] & kWorkingSegment;
      if (working) sum = sum_of_squares(parameters.working_gradients.as<W>() + first);
    }
    if (!working) sum = sum_of_squares(parameters.gradients.as<float>() + first);
    if (!(sum <= std::numeric_limits<double>::max()))
      result.bad_segment = std::min(result.bad_segment, static_cast<std::int32_t>(segment));
    result.sum += sum;
  }
  return result;
}

void forward(Context&, const FlatParams& params, const FlatParameters& parameters, TensorView sum_of_squares,
             TensorView bad_segment, Workspace workspace) {
  auto* partials = static_cast<Partial*>(workspace.data);
  dispatch_working(params, [&]<class W>(TypeTag<W>) {
    parallel_for(pieces(params), kPiece * kParameterSegment, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t piece = begin; piece < end; ++piece)
        partials[piece] =
            measure_piece<W>(parameters, piece * kPiece, std::min((piece + 1) * kPiece, segments(params)));
    });
  });
  Partial total{0.0, kNoSegment};
  for (std::int64_t piece = 0; piece < pieces(params); ++piece) {
    total.sum += partials[piece].sum;
    total.bad_segment = std::min(total.bad_segment, partials[piece].bad_segment);
  }
  *sum_of_squares.as<double>() = total.sum;
  *bad_segment.as<std::int32_t>() = total.bad_segment;
}

}  // namespace

const GradientNormRow gradient_norm_row{{"cpu", DeviceKind::cpu, true}, supports, workspace, forward};

}  // namespace zeroth::cpu
