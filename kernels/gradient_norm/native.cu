// The squared norm of all gradients, and the first segment of them that is not finite.
// Bytes moved: 4 an element, 2 where the gradient is a 16-bit one: every gradient once. Bound by memory: a
// thread has four units of one or two 16-byte loads in flight. A unit lies in one segment, and its sum of
// squares says whether all of it is finite, as f32 squares do not overflow in f64; so the test costs one
// comparison a unit. Two stages in a fixed order, without atomics: the grid depends on the size alone, every
// block leaves one partial in the workspace, and one block joins those.

#include <cfloat>
#include <type_traits>

#include "kernels/core/block.cuh"
#include "kernels/gradient_norm/gradient_norm.h"

namespace zeroth::ZEROTH_NATIVE {

namespace {

constexpr int kThreads = 256;
constexpr int kUnroll = 4;
constexpr std::int64_t kMaxBlocks = 1024;
constexpr int kFloatPack = kPackSize<float>;

/// Elements that a thread takes at once: 16 bytes of the narrowest gradients there are.
template <class W>
inline constexpr int kUnit = kPackSize<W>;
template <>
inline constexpr int kUnit<void> = kFloatPack;

struct Partial {
  double sum;
  std::int32_t bad_segment;
};

/// One unit in registers, in the one dtype or the other.
template <class W>
struct Unit {
  Pack<W, kUnit<W>> narrow;
  Pack<float, kFloatPack> low, high;
  bool working;

  __device__ void load(const float* gradients, const W* working_gradients,
                       const std::uint8_t* group_of_segment, std::int64_t i) {
    working = group_of_segment[i / kParameterSegment] & kWorkingSegment;
    if (working) {
      narrow = load_pack<kUnit<W>>(working_gradients + i);
    } else {
      low = load_pack<kFloatPack>(gradients + i);
      high = load_pack<kFloatPack>(gradients + i + kFloatPack);
    }
  }
  __device__ double sum_of_squares() const {
    double sum = 0.0;
    for (int e = 0; e < kUnit<W>; ++e) {
      const double g = working          ? to_compute(narrow.value[e])
                       : e < kFloatPack ? low.value[e % kFloatPack]
                                        : high.value[e % kFloatPack];
      sum += g * g;
    }
    return sum;
  }
};
template <>
struct Unit<void> {
  Pack<float, kFloatPack> gradient;

  __device__ void load(const float* gradients, const void*, const std::uint8_t*, std::int64_t i) {
    gradient = load_pack<kFloatPack>(gradients + i);
  }
  __device__ double sum_of_squares() const {
    double sum = 0.0;
    for (int e = 0; e < kFloatPack; ++e) {
      const double g = gradient.value[e];
      sum += g * g;
    }
    return sum;
  }
};

/// The block's partial, in every thread. All threads must call it.
__device__ inline Partial block_partial(Partial own) {
  ZEROTH_SHARED(double, sums, [kThreads / kWarpSize]);
  ZEROTH_SHARED(std::int32_t, segments, [kThreads / kWarpSize]);
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2)
    own.bad_segment = min(own.bad_segment, __shfl_xor_sync(0xffffffffu, own.bad_segment, distance));
  if (threadIdx.x % kWarpSize == 0) segments[threadIdx.x / kWarpSize] = own.bad_segment;
  own.sum = block_sum(own.sum, sums);  // its barriers make `segments` visible, too
  for (int warp = 0; warp < kThreads / kWarpSize; ++warp)
    own.bad_segment = min(own.bad_segment, segments[warp]);
  return own;
}

template <class W>
__global__ void __launch_bounds__(kThreads)
    partials_kernel(const float* gradients, const W* working_gradients, const std::uint8_t* group_of_segment,
                    std::int64_t elements, Partial* partials) {
  const std::int64_t threads = std::int64_t{gridDim.x} * kThreads, units = elements / kUnit<W>;
  Partial own{0.0, kNoSegment};
  for (std::int64_t first = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; first < units;
       first += kUnroll * threads) {
    Unit<W> loaded[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
      if (const std::int64_t unit = first + u * threads; unit < units)
        loaded[u].load(gradients, working_gradients, group_of_segment, unit * kUnit<W>);
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const std::int64_t unit = first + u * threads;
      if (unit >= units) break;
      const double sum = loaded[u].sum_of_squares();
      if (!(sum <= DBL_MAX))
        own.bad_segment =
            min(own.bad_segment, static_cast<std::int32_t>(unit * kUnit<W> / kParameterSegment));
      own.sum += sum;
    }
  }
  own = block_partial(own);
  if (threadIdx.x == 0) partials[blockIdx.x] = own;
}

__global__ void __launch_bounds__(kThreads)
    join_kernel(const Partial* partials, int count, double* sum_of_squares, std::int32_t* bad_segment) {
  Partial own{0.0, kNoSegment};
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
    own.sum += partials[i].sum;
    own.bad_segment = min(own.bad_segment, partials[i].bad_segment);
  }
  own = block_partial(own);
  if (threadIdx.x != 0) return;
  *sum_of_squares = own.sum;
  *bad_segment = own.bad_segment;
}

unsigned blocks(const FlatParams& params) {
  const std::int64_t unit = params.mixed() ? kUnit<f16> : kUnit<void>;
  return blocks_for(params.elements / unit / kUnroll, kThreads, kMaxBlocks);
}

bool supports(const FlatParams& params) {
  return params.dtype == DType::f32;
}

std::size_t workspace(Context&, const FlatParams& params) {
  return blocks(params) * sizeof(Partial);
}

void forward(Context& context, const FlatParams& params, const FlatParameters& parameters,
             TensorView sum_of_squares, TensorView bad_segment, Workspace workspace) {
  auto* partials = static_cast<Partial*>(workspace.data);
  dispatch_working(params, [&]<class W>(TypeTag<W>) {
    const W* working_gradients = nullptr;
    if constexpr (!std::is_void_v<W>) working_gradients = parameters.working_gradients.as<W>();
    launch(partials_kernel<W>, dim3(blocks(params)), dim3(kThreads), 0, context.stream(),
           parameters.gradients.as<float>(), working_gradients,
           parameters.group_of_segment.as<std::uint8_t>(), params.elements, partials);
  });
  launch(join_kernel, dim3(1), dim3(kThreads), 0, context.stream(), partials,
         static_cast<int>(blocks(params)), sum_of_squares.as<double>(), bad_segment.as<std::int32_t>());
}

}  // namespace

const GradientNormRow gradient_norm_row{{"native", kNativeDevice, true}, supports, workspace, forward};

}  // namespace zeroth::ZEROTH_NATIVE
