#include <algorithm>
#include <bit>

#include "kernels/core/parallel.h"
#include "kernels/reduce/reduce.h"

namespace zeroth::cpu {

namespace {

/// The unit of parallel work. Where pieces begin depends on the size alone, so the result does not depend on
/// the number of threads.
constexpr std::int64_t kPiece = 32768;
/// Elements that are summed in f32: 32 in each of kLanes independent sums, so a vector unit can hold them.
constexpr std::int64_t kLanes = 32;
constexpr std::int64_t kRun = 32 * kLanes;

// Bits of |x| order like |x|, with NaN above infinity: one integer maximum serves both.
constexpr std::uint32_t kMagnitude = 0x7fffffffu, kExponent = 0x7f800000u;

struct Sum {
  using Lane = float;
  static float map(float x) { return x; }
  static float join(float a, float b) { return a + b; }
};
struct SumOfSquares {
  using Lane = float;
  static float map(float x) { return x * x; }
  static float join(float a, float b) { return a + b; }
};
struct MaxAbs {
  using Lane = std::uint32_t;
  static std::uint32_t map(float x) { return std::bit_cast<std::uint32_t>(x) & kMagnitude; }
  static std::uint32_t join(std::uint32_t a, std::uint32_t b) { return std::max(a, b); }
};
struct CountNonfinite {
  using Lane = std::uint32_t;
  static std::uint32_t map(float x) {
    return (std::bit_cast<std::uint32_t>(x) & kExponent) == kExponent ? 1u : 0u;
  }
  static std::uint32_t join(std::uint32_t a, std::uint32_t b) { return a + b; }
};

/// Joins what pieces and runs gave; a double holds all of it exactly except sums, which it rounds.
template <class Op>
double join_totals(double a, double b) {
  if constexpr (std::is_same_v<Op, MaxAbs>) return std::max(a, b);
  return a + b;
}

template <class Op, class T>
double reduce_run(const T* x, std::int64_t count) {
  typename Op::Lane lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (std::int64_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] = Op::join(lanes[lane], Op::map(to_compute(x[i + lane])));
  for (std::int64_t lane = 0; i + lane < count; ++lane)
    lanes[lane] = Op::join(lanes[lane], Op::map(to_compute(x[i + lane])));
  double total = 0.0;
  for (const auto value : lanes) total = join_totals<Op>(total, static_cast<double>(value));
  return total;
}

template <class Op, class T>
double reduce(const T* x, std::int64_t elements, double* partials) {
  const std::int64_t pieces = (elements + kPiece - 1) / kPiece;
  parallel_for(pieces, kPiece, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t piece = begin; piece < end; ++piece) {
      const std::int64_t last = std::min(elements, (piece + 1) * kPiece);
      double total = 0.0;
      for (std::int64_t i = piece * kPiece; i < last; i += kRun)
        total = join_totals<Op>(total, reduce_run<Op>(x + i, std::min(kRun, last - i)));
      partials[piece] = total;
    }
  });
  double total = 0.0;
  for (std::int64_t piece = 0; piece < pieces; ++piece) total = join_totals<Op>(total, partials[piece]);
  return total;
}

bool supports(const ReduceParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

std::size_t workspace(Context&, const ReduceParams& params) {
  return static_cast<std::size_t>((params.elements + kPiece - 1) / kPiece) * sizeof(double);
}

void forward(Context&, const ReduceParams& params, ConstTensorView x_view, TensorView result,
             Workspace workspace) {
  auto* partials = static_cast<double*>(workspace.data);
  *result.as<float>() = dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) -> float {
    const T* x = x_view.as<T>();
    switch (params.reduction) {
      case Reduction::sum:
        return static_cast<float>(reduce<Sum>(x, params.elements, partials));
      case Reduction::sum_of_squares:
        return static_cast<float>(reduce<SumOfSquares>(x, params.elements, partials));
      case Reduction::max_abs:
        return std::bit_cast<float>(static_cast<std::uint32_t>(reduce<MaxAbs>(x, params.elements, partials)));
      case Reduction::count_nonfinite:
        return static_cast<float>(reduce<CountNonfinite>(x, params.elements, partials));
    }
    return 0.0f;
  });
}

}  // namespace

const ReduceRow reduce_row{{"cpu", DeviceKind::cpu, true}, supports, workspace, forward};

}  // namespace zeroth::cpu
