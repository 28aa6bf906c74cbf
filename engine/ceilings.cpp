#include "engine/ceilings.h"

#include <algorithm>
#include <cstring>

#include "engine/tensor.h"
#include "kernels/core/parallel.h"
#include "kernels/core/philox.h"
#include "kernels/linear/linear.h"

namespace zeroth {

namespace {

/// Seconds of the fastest of a few runs; the first one prepares.
template <class Run>
double fastest(Context& context, Run&& run) {
  constexpr int kRuns = 5;
  const int device = context.device().index;
  Event begin(context.memory(), device), end(context.memory(), device);
  double best = 1e30;
  for (int i = 0; i < kRuns + 1; ++i) {
    begin.record(context.stream());
    run();
    end.record(context.stream());
    end.wait();
    if (i > 0) best = std::min(best, end.milliseconds_since(begin) / 1e3);
  }
  return best;
}

/// Numbers in (-1, 1]: zeros would let some hardware clock higher than real data does, and the contents of
/// fresh memory may be anything.
template <class T>
std::vector<T> random_matrix(std::int64_t elements) {
  std::vector<T> values(static_cast<std::size_t>(elements));
  const std::size_t drawn = std::min<std::size_t>(values.size(), 1 << 18);
  for (std::size_t i = 0; i < drawn; ++i)
    values[i] = from_compute<T>(2.0f * uniform_unit(philox(1, 0, i, RandomUse::test).word[0]) - 1.0f);
  for (std::size_t i = drawn; i < values.size(); ++i) values[i] = values[i - drawn];
  return values;
}

}  // namespace

double measure_matrix_rate(Context& context, DType dtype) {
  if (context.device().kind == DeviceKind::simt) return 0.0;
  const std::int64_t side = context.device().kind == DeviceKind::cuda ? 4096 : 1024;
  const LinearParams params{side, side, side, dtype};
  const auto matrix = [&] {
    return dispatch_storage(dtype, [&]<class T>(TypeTag<T>) {
      return Tensor::from_host<T>(context, {side, side}, random_matrix<T>(side * side));
    });
  };
  const Tensor x = matrix(), w = matrix(), y = Tensor::empty(context, {side, side}, dtype);
  const Tensor bias = Tensor::zeros(context, {side}, DType::f32);
  const Workspace workspace = context.scratch(linear_workspace(context, params));
  const double seconds = fastest(context, [&] { linear_forward(context, params, x, w, bias, y, workspace); });
  return 2.0 * static_cast<double>(side) * static_cast<double>(side) * static_cast<double>(side) / seconds;
}

double measure_copy_rate(Context& context) {
  const Device device = context.device();
  if (device.kind == DeviceKind::simt) return 0.0;
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  const std::size_t pieces = std::max<std::size_t>(context.memory().cache_bytes(device.index) / kPiece, 256);
  const std::size_t bytes = pieces * kPiece;
  const DeviceMemory from(context.memory(), device.index, bytes), to(context.memory(), device.index, bytes);
  const std::vector<float> numbers = random_matrix<float>(kPiece / sizeof(float));
  for (std::size_t i = 0; i < pieces; ++i)
    context.memory().copy_to_device(static_cast<std::byte*>(from.data()) + i * kPiece, numbers.data(), kPiece,
                                    context.stream());
  const double seconds = fastest(context, [&] {
    if (device.kind == DeviceKind::cuda) {
      context.memory().copy_on_device(to.data(), from.data(), bytes, context.stream());
      return;
    }
    parallel_for(static_cast<std::int64_t>(pieces), static_cast<std::int64_t>(kPiece),
                 [&](std::int64_t begin, std::int64_t end) {
                   const std::size_t offset = static_cast<std::size_t>(begin) * kPiece;
                   std::memcpy(static_cast<std::byte*>(to.data()) + offset,
                               static_cast<const std::byte*>(from.data()) + offset,
                               static_cast<std::size_t>(end - begin) * kPiece);
                 });
  });
  return 2.0 * static_cast<double>(bytes) / seconds;
}

}  // namespace zeroth
